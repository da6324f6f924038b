#!/usr/bin/env python3
"""What ptxas made of every CUDA kernel, as a Markdown table, or held against the budgets.

    scripts/kernel_table.py build/cuda/libbranchsae_cuda.a
    scripts/kernel_table.py build/cuda/libbranchsae_cuda.a --check cuda/budgets.tsv

--check prints what is wrong, one line each, with the row to add or change, and exits 1 if anything is. No kernel may
use the stack or local memory, but for what the file allows on architectures that have no rows. Registers are held against the budgets only when the toolkit is the
one the file names: another release allocates otherwise.
"""
import argparse
import dataclasses
import pathlib
import re
import sys

import cubin

BUDGETED = ("sm_80", "sm_90a")
HEADER = ["kernel", "architecture", "registers", "shared", "tensor"]
REGISTER_UNIT = 8  # a thread's registers are allocated in eights
REGISTERS_OF_MULTIPROCESSOR = 65536
WARP = 32


@dataclasses.dataclass
class Budget:
    registers: int  # at most
    shared: int  # bytes, at most; static
    tensor: str  # instructions that must be there: "-", "hmma" or "hgmma"


def tensor(kernel):
    return "hgmma" if kernel.hgmma else "hmma" if kernel.hmma else "-"


def row(kernel):
    """The budget that this kernel just keeps."""
    registers = -(-kernel.registers // REGISTER_UNIT) * REGISTER_UNIT
    return f"{kernel.name}\t{kernel.architecture}\t{registers}\t{kernel.shared}\t{tensor(kernel)}"


def read_budgets(path):
    """(toolkit, {(kernel, architecture): Budget}, {architecture: bytes of stack that spills may take})"""
    toolkit, budgets, stack = "", {}, {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if found := re.match(r"# toolkit (\S+)", line):
            toolkit = found.group(1)
        if found := re.match(r"# stack (sm_\w+) (\d+)$", line):
            if found.group(1) in BUDGETED:
                raise cubin.CubinError(f"{path}:{number}: no stack is allowed on {found.group(1)}")
            stack[found.group(1)] = int(found.group(2))
        fields = line.split("\t")
        if not line or line.startswith("#") or fields == HEADER:
            continue
        if len(fields) != len(HEADER) or not (fields[2].isdigit() and fields[3].isdigit()) or \
                fields[4] not in ("-", "hmma", "hgmma") or fields[1] not in BUDGETED:
            raise cubin.CubinError(f"{path}:{number}: not a row of {', '.join(HEADER)}, separated by tabs: {line!r}")
        if (fields[0], fields[1]) in budgets:
            raise cubin.CubinError(f"{path}:{number}: a second row for {fields[0]} on {fields[1]}")
        budgets[fields[0], fields[1]] = Budget(int(fields[2]), int(fields[3]), fields[4])
    return toolkit, budgets, stack


def problems(kernels, budgets, toolkit, stack=None):
    """What breaks a budget, one line each. stack: bytes allowed by architecture, else none."""
    found = []
    for kernel in kernels:
        who = f"{kernel.name} on {kernel.architecture}"
        allowed = (stack or {}).get(kernel.architecture, 0)
        if kernel.stack > allowed:
            found.append(f"{who}: {kernel.stack} bytes of stack; {allowed or 'none'} are allowed")
        if allowed == 0 and kernel.local_loads + kernel.local_stores:
            found.append(f"{who}: {kernel.local_loads} loads from and {kernel.local_stores} stores to local memory "
                         "(spills, or an array indexed at run time); none are allowed")
        if kernel.architecture not in BUDGETED:
            continue
        budget = budgets.get((kernel.name, kernel.architecture))
        if budget is None:
            found.append(f"{who}: no budget; add the row: {row(kernel)}")
            continue
        if kernel.toolkit == toolkit and kernel.registers > budget.registers:
            found.append(f"{who}: {kernel.registers} registers, budget {budget.registers}")
        if kernel.shared > budget.shared:
            found.append(f"{who}: {kernel.shared} bytes of static shared memory, budget {budget.shared}")
        if budget.tensor != tensor(kernel):
            found.append(f"{who}: tensor-core instructions: {tensor(kernel)}, budget {budget.tensor}")
    built = {kernel.architecture for kernel in kernels}
    here = {(kernel.name, kernel.architecture) for kernel in kernels}
    found += [f"{name} on {architecture}: a budget, but no such kernel; remove the row"
              for name, architecture in budgets if architecture in built and (name, architecture) not in here]
    return found


def warps(kernel):
    """Resident warps a multiprocessor that the registers allow, of 64 (blocks of unknown size: as if of one warp)."""
    of_a_warp = -(-kernel.registers // REGISTER_UNIT) * REGISTER_UNIT * WARP
    of_a_block = max(kernel.threads // WARP, 1)
    return min(REGISTERS_OF_MULTIPROCESSOR // (of_a_warp * of_a_block) * of_a_block, 64)


def table(kernels):
    lines = ["| kernel | for | registers | threads | warps | static shared | instructions | HMMA | HGMMA | cp.async | "
             "LDL + STL | stack |", "| --- | --- " + "| ---: " * 10 + "|"]
    for k in kernels:
        numbers = (k.registers, k.threads or "-", warps(k), k.shared, k.instructions, k.hmma, k.hgmma, k.async_copies,
                   k.local_loads + k.local_stores, k.stack)
        lines.append(f"| `{k.name}` | {k.architecture} | " + " | ".join(map(str, numbers)) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=pathlib.Path, help="static library, object file or cubin")
    parser.add_argument("--check", type=pathlib.Path, metavar="BUDGETS", help="hold the kernels against this file")
    parser.add_argument("--rows", action="store_true", help="print budget rows that the kernels just keep")
    options = parser.parse_args()
    try:
        kernels = cubin.read(options.file)
        if not kernels:
            raise cubin.CubinError(f"{options.file}: holds no kernels")
        if options.rows:
            print("\n".join(row(kernel) for kernel in kernels if kernel.architecture in BUDGETED))
            return
        if options.check is None:
            print(table(kernels))
            return
        toolkit, budgets, stack = read_budgets(options.check)
        found = problems(kernels, budgets, toolkit, stack)
    except (cubin.CubinError, OSError) as error:
        sys.exit(f"kernel_table.py: {error}")
    print("\n".join(found) or f"{len(kernels)} kernels keep their budgets")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
