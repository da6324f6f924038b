"""Timing of PyTorch programs: CUDA events around replays of captured graphs, or the wall clock on a CPU."""
import statistics
import time

import torch

WARM_RUNS = 3


def quantile(values, q):
    values = sorted(values)
    return values[min(int(q * (len(values) - 1) + 0.5), len(values) - 1)]


def summary(times):
    """Milliseconds; p10 is the fast end."""
    return {"runs": len(times), "ms_median": statistics.median(times), "ms_p10": quantile(times, 0.1),
            "ms_p90": quantile(times, 0.9), "ms_best": min(times)}


def capture(functions):
    """A graph of each function, in one memory pool; None where something cannot be captured."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for function in functions:
            for _ in range(WARM_RUNS):
                function()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graphs, pool = [], torch.cuda.graph_pool_handle()
    try:
        for function in functions:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=pool):
                function()
            graphs.append(graph)
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        torch.cuda.synchronize()
        return None
    return [graph.replay for graph in graphs]


def time_on_gpu(functions, seconds):
    """(milliseconds a run, whether graphs were replayed); the functions take turns."""
    replays = capture(functions)
    runs = replays or functions
    for run in runs:
        run()
    torch.cuda.synchronize()
    times, until = [], time.perf_counter() + seconds
    while time.perf_counter() < until or len(times) < 5:
        events = [torch.cuda.Event(enable_timing=True) for _ in range(len(runs) + 1)]
        events[0].record()
        for run, event in zip(runs, events[1:]):
            run()
            event.record()
        torch.cuda.synchronize()
        times += [begin.elapsed_time(end) for begin, end in zip(events, events[1:])]
    return times, replays is not None


def time_on_cpu(functions, seconds):
    functions[0]()
    times, until = [], time.perf_counter() + seconds
    while time.perf_counter() < until or len(times) < 3:
        begin = time.perf_counter()
        functions[len(times) % len(functions)]()
        times.append(1e3 * (time.perf_counter() - begin))
    return times, False


def measure(functions, seconds, device):
    """Summary of the times, and whether CUDA graphs were replayed."""
    times, graphs = (time_on_gpu if device == "cuda" else time_on_cpu)(functions, seconds)
    return summary(times) | {"cuda_graphs": graphs}


def machine(device):
    """What the figures were taken on."""
    found = {"torch": torch.__version__, "cuda": torch.version.cuda}
    if device == "cuda":
        found["gpu"] = torch.cuda.get_device_name()
    return found


def need(device):
    """Exits with one line when there is no such device."""
    if device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no CUDA device that PyTorch can use; --device cpu checks the arithmetic at small sizes")
