"""bench/baselines/gpu_*.py on the CPU: every way to write the step agrees with double precision, and a wrong one does
not pass. Triton's kernels run in its interpreter. Skipped without PyTorch."""
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import unittest

import cases

BASELINES = cases.ROOT / "bench/baselines"


def there(*modules):
    return all(importlib.util.find_spec(module) for module in modules)


def model():
    """The real network, where it is at hand."""
    for folder in (os.environ.get("BRANCHSAE_DATA", ""), cases.ROOT / "data", cases.ROOT.parent / "shared"):
        path = pathlib.Path(folder, "model/googlenet.onnx")
        if path.is_file():
            return path
    return None


def run(script, *arguments, **environment):
    done = subprocess.run([sys.executable, BASELINES / script, *arguments], capture_output=True, text=True, check=False,
                          env=os.environ | {"OMP_WAIT_POLICY": "passive"} | environment)
    return done, [json.loads(line) for line in done.stdout.splitlines()]


@unittest.skipUnless(there("torch"), "needs PyTorch")
class SaeStep(unittest.TestCase):
    def test_the_ways_in_pytorch_agree_with_double_precision(self):
        done, results = run("gpu_sae_step.py", "--device", "cpu", "--check", "--variant", "dense,gather")
        self.assertEqual(done.returncode, 0, done.stderr + done.stdout)
        self.assertEqual([result["baseline"] for result in results], ["dense", "gather"])
        for result in results:
            self.assertLess(result["difference"]["fp32"], 1e-5)
            self.assertNotIn("tokens_per_s", result)

    @unittest.skipUnless(there("triton"), "needs Triton")
    def test_triton_kernels_agree_with_double_precision(self):
        done, results = run("gpu_sae_step.py", "--device", "cpu", "--check", "--variant", "triton,openai",
                            TRITON_INTERPRET="1")
        self.assertEqual(done.returncode, 0, done.stderr + done.stdout)
        self.assertEqual(len(results), 2)

    @unittest.skipUnless(there("triton"), "needs Triton")
    def test_triton_kernels_compile_for_gpus(self):
        code = f"""
import sys
sys.path.insert(0, {str(BASELINES)!r})
import triton, triton_kernels as kernels
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
bf16, fp32, i64 = "*bf16", "*fp32", "*i64"
lists = dict(order=i64, starts=i64, target=fp32, bias=fp32, d="i32", k="i32")
cases = [(kernels.decode_gradient_kernel, dict(centred=bf16, weight=bf16, values=bf16, indices=i64, error=bf16, g=fp32,
          loss=fp32, batch="fp32", d="i32", k="i32"), dict(K=32, D=128))]
cases += [(kernels.weight_gradient_kernel, dict(left=fp32, left_of=bf16, right=bf16, right_of=bf16, **lists),
           dict(TWO=two, ADD=not two, BIAS=two, P=16, D=256)) for two in (True, False)]
for capability in (80, 90):
    for kernel, types, constants in cases:
        source = ASTSource(kernel, types | dict.fromkeys(constants, "constexpr"), constexprs=constants)
        assert triton.compile(source, target=GPUTarget("cuda", capability, 32)).asm["cubin"]
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_without_a_gpu_one_line(self):
        import torch

        if torch.cuda.is_available():
            self.skipTest("there is a GPU")
        done, results = run("gpu_sae_step.py")
        self.assertEqual((done.returncode, results, done.stderr.count("\n")), (1, [], 1), done.stderr)
        self.assertIn("no CUDA device", done.stderr)

    def test_wrong_steps_are_refused(self):
        sys.path.insert(0, str(BASELINES))
        import topk_sae
        import torch

        x = torch.randn(32, 20, generator=torch.Generator().manual_seed(3))

        def spoilt(field, change):
            class Spoilt(topk_sae.Dense):
                def gradients(self, x):
                    found = super().gradients(x)
                    setattr(found, field, change(getattr(found, field)))
                    return found

            return Spoilt(20, 90, 5, torch.float32, "cpu")

        topk_sae.check(spoilt("loss", lambda loss: loss), x)
        for field, change, message in (
                ("loss", lambda loss: 1.01 * loss, "differs"),
                ("weight", lambda w: w + 1e-3 * w.abs().max(), "differs"),
                ("b_enc", torch.zeros_like, "differs"), ("b_pre", lambda b: -b, "differs"),
                ("indices", lambda i: (i + 1) % 90, "not among"),
                ("indices", lambda i: i[:, :1].expand(-1, 5), "twice"),
                ("values", torch.zeros_like, "value 0")):
            with self.assertRaisesRegex(ArithmeticError, message, msg=field):
                topk_sae.check(spoilt(field, change), x)


@unittest.skipUnless(there("torch", "onnx"), "needs PyTorch and onnx")
class Forward(unittest.TestCase):
    @unittest.skipUnless(model(), "needs the model")
    def test_the_network_agrees_with_onnx_runtime(self):
        done, results = run("gpu_forward.py", "--onnx", model(), "--device", "cpu", "--check")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertLess(results[0]["difference_from_float32"], 3e-2)

    def test_a_model_that_is_not_there(self):
        done, _ = run("gpu_forward.py", "--onnx", "absent.onnx")
        self.assertEqual((done.returncode, done.stderr), (1, "gpu_forward.py: absent.onnx: no such file\n"))


if __name__ == "__main__":
    cases.run()
