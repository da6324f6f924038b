"""The kernels' budgets: scripts/cubin.py on images made by hand and on kernels planted to break each rule, and the
built library against cuda/budgets.tsv. Arguments: the library and nvcc, both empty in builds without CUDA."""
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import cases

sys.path.insert(0, str(cases.ROOT / "scripts"))
sys.path.insert(0, str(pathlib.Path(__file__).parent))
import cubin  # noqa: E402
import cubin_builder as build  # noqa: E402
import kernel_table  # noqa: E402

LIBRARY, NVCC = (sys.argv[1:] + ["", ""])[:2]
HMMA, HGMMA, LDL, STL, LDGSTS = 0x23C, 0x9F0, 0x983, 0x387, 0xFAE
PLANTED = r"""
extern "C" __global__ void __launch_bounds__(256) plain(float* a) { a[threadIdx.x] += 1; }
extern "C" __global__ void stack(float* a, const int* at) {
  float values[32];
  for (int i = 0; i < 32; ++i) values[i] = a[i];
  for (int i = 0; i < 32; ++i) values[at[i]] += 1;
  for (int i = 0; i < 32; ++i) a[i] = values[i];
}
extern "C" __global__ void __launch_bounds__(1024, 2) spill(float* a) {
  float values[64];
  for (int i = 0; i < 64; ++i) values[i] = a[i * 1024 + threadIdx.x];
  for (int round = 0; round < 3; ++round) {
    __syncthreads();
    for (int i = 0; i < 64; ++i) values[i] = values[i] * values[(i + 7) % 64] + values[(i + 13) % 64];
  }
  for (int i = 0; i < 64; ++i) a[i * 1024 + threadIdx.x] = values[i];
}
extern "C" __global__ void shared(float* a) {
  __shared__ float values[300];
  values[threadIdx.x] = a[threadIdx.x];
  __syncthreads();
  a[threadIdx.x] = values[299 - threadIdx.x];
}
extern "C" __global__ void tensor(float* c, const unsigned* ab) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
               "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(ab[0]), "r"(ab[1]), "r"(ab[2]), "r"(ab[3]), "r"(ab[4]), "r"(ab[5]));
}
template <int N, bool B> __global__ void variant(float* a) { a[N] = B; }
template __global__ void variant<3, true>(float*);
"""


class Parser(unittest.TestCase):
    def kernels(self, data):
        return cubin.kernels_of_data(data, "file")

    def refused(self, data, text):
        with self.assertRaisesRegex(cubin.CubinError, text) as caught:
            self.kernels(data)
        self.assertNotIn("\n", str(caught.exception))

    def test_an_image(self):
        operations = [HMMA, HMMA, HGMMA, LDL, STL, STL, LDGSTS, 0x918, 0x94F]
        data = build.image("f", 168, 48, operations, shared=2224, threads=(128, 2, 1))
        self.assertEqual(self.kernels(data), [cubin.Kernel(
            name="f", architecture="sm_90a", toolkit="13.0", registers=168, stack=48, shared=1200, threads=256,
            instructions=9, hmma=2, hgmma=1, local_loads=1, local_stores=2, async_copies=1)])

    def test_without_a_note_the_flags_name_the_architecture(self):
        self.assertEqual(self.kernels(build.image(architecture=None))[0].architecture, "sm_90")
        old = build.image(architecture=None, abi=7, flags=0x500550)
        self.assertEqual(self.kernels(old)[0].architecture, "sm_80")

    def test_shared_memory_of_the_driver_is_not_counted_where_the_image_includes_it(self):
        for architecture, counted in (("sm_80", 2224), ("sm_90a", 1200), ("sm_100", 1200)):
            self.assertEqual(self.kernels(build.image(shared=2224, architecture=architecture))[0].shared, counted)

    def test_object_files_hold_images_of_several_architectures(self):
        data = build.host_object([
            build.fatbin([(2, build.image("a", architecture="sm_80")), (1, b".version 9.0\n"),
                          (2, build.image("a", architecture="sm_90a"))]),
            build.fatbin([(2, build.image("b", architecture="sm_80"))])])
        self.assertEqual([(k.name, k.architecture) for k in self.kernels(data)],
                         [("a", "sm_80"), ("a", "sm_90a"), ("b", "sm_80")])
        self.assertEqual(self.kernels(build.elf([(".text", b"\x90")], machine=62)), [])

    def test_static_libraries(self):
        one = build.host_object([build.fatbin([(2, build.image("a"))])])
        two = build.host_object([build.fatbin([(2, build.image("b"))])])
        data = build.archive([("a.cu.o", one), ("with_a_long_name.cu.o", two)])
        self.assertEqual([k.name for k in self.kernels(data)], ["a", "b"])
        self.refused(build.archive([("with_a_long_name.cu.o", b"x" * 99)]), r"file\(with_a_long_name.cu.o\): neither")

    def test_files_that_are_damaged(self):
        image = build.image(operations=[HMMA])
        self.refused(b"", "neither a static library")
        self.refused(image[:-1], "section table lies outside")
        self.refused(image[:4] + b"\x01" + image[5:], "64-bit")
        self.refused(build.image(registers=0), "no register count for k")
        self.refused(build.host_object([build.fatbin([(2, b"\x28\xb5\x2f\xfd" + bytes(40))])]), "--no-compress")
        self.refused(build.host_object([build.fatbin([(2, image)])[:-200]]), "fat binary of")
        self.refused(build.archive([("a.o", image)])[:80].replace(b"4         `", b"x         `"), "member")

    def test_short_names(self):
        for signature, short in (
                ("void branchsae::cuda::f<(branchsae::cuda::P)2, 64, false>(branchsae::cuda::D const*)",
                 "f<P(2), 64, false>"),
                ("branchsae::cuda::g(int)", "g"), ("plain", "plain"),
                ("void branchsae::cuda::(anonymous namespace)::h<(int)3>(float*)", "h<int(3)>")):
            self.assertEqual(cubin.shorten(signature), short)


class Budgets(unittest.TestCase):
    KEPT = cubin.Kernel("f", "sm_80", "13.0", registers=33, shared=16, instructions=9, hmma=4)

    def problems(self, *kernels, toolkit="13.0", extra=""):
        with tempfile.NamedTemporaryFile("w", suffix=".tsv") as file:
            file.write(f"# toolkit 13.0\n{chr(9).join(kernel_table.HEADER)}\nf\tsm_80\t40\t16\thmma\n{extra}")
            file.flush()
            read, budgets, stack = kernel_table.read_budgets(pathlib.Path(file.name))
        self.assertEqual(read, "13.0")
        return kernel_table.problems(kernels, budgets, toolkit, stack)

    def changed(self, **fields):
        return cubin.dataclasses.replace(self.KEPT, **fields)

    def test_kept(self):
        self.assertEqual(self.problems(self.KEPT, self.changed(architecture="sm_89", registers=200)), [])
        self.assertEqual(kernel_table.row(self.KEPT), "f\tsm_80\t40\t16\thmma")

    def test_each_rule(self):
        for fields, text in (({"stack": 8}, "8 bytes of stack"), ({"local_loads": 2}, "2 loads"),
                             ({"local_stores": 3}, "3 stores"), ({"registers": 41}, "41 registers, budget 40"),
                             ({"shared": 17}, "17 bytes of static shared memory, budget 16"),
                             ({"hmma": 0}, "tensor-core instructions: -, budget hmma"),
                             ({"hgmma": 1}, "tensor-core instructions: hgmma, budget hmma")):
            found = self.problems(self.changed(**fields))
            self.assertEqual(len(found), 1, fields)
            self.assertIn(text, found[0])
            self.assertTrue(found[0].startswith("f on sm_80: "))

    def test_local_memory_is_forbidden_on_every_architecture(self):
        self.assertEqual(len(self.problems(self.KEPT, self.changed(architecture="sm_120", local_loads=1))), 1)

    def test_small_spills_may_be_allowed_where_there_are_no_rows(self):
        spilling = self.changed(architecture="sm_86", stack=16, local_loads=3, local_stores=2)
        self.assertEqual(len(self.problems(self.KEPT, spilling)), 2)
        self.assertEqual(self.problems(self.KEPT, spilling, extra="# stack sm_86 16\n"), [])
        self.assertEqual(self.problems(self.KEPT, spilling, extra="# stack sm_86 8\n"),
                         ["f on sm_86: 16 bytes of stack; 8 are allowed"])
        self.assertEqual(len(self.problems(self.KEPT, spilling, extra="# stack sm_89 16\n")), 2)
        with self.assertRaisesRegex(cubin.CubinError, "no stack is allowed on sm_80"):
            self.problems(self.KEPT, extra="# stack sm_80 16\n")

    def test_registers_of_another_toolkit_are_not_compared(self):
        self.assertEqual(self.problems(self.changed(registers=99), toolkit="12.4"), [])

    def test_a_new_kernel_comes_with_its_row(self):
        found = self.problems(self.KEPT, self.changed(name="g<1>", registers=65, hmma=0))
        self.assertEqual(found, ["g<1> on sm_80: no budget; add the row: g<1>\tsm_80\t72\t16\t-"])

    def test_a_row_without_a_kernel_is_named_where_its_architecture_was_built(self):
        extra = "old\tsm_80\t8\t0\t-\nother\tsm_90a\t8\t0\t-\n"
        self.assertEqual(self.problems(self.KEPT, extra=extra),
                         ["old on sm_80: a budget, but no such kernel; remove the row"])

    def test_rows_that_cannot_be_read(self):
        for line in ("g\tsm_80\t40\t0", "g\tsm_80\tmany\t0\t-", "g\tsm_80\t40\t0\twmma", "g\tsm_70\t40\t0\t-",
                     "f\tsm_80\t40\t0\t-"):
            with self.assertRaisesRegex(cubin.CubinError, ":4: "):
                self.problems(self.KEPT, extra=line + "\n")


@unittest.skipUnless(NVCC, "built without CUDA")
class Planted(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory() as folder:
            source, target = pathlib.Path(folder, "planted.cu"), pathlib.Path(folder, "planted.o")
            source.write_text(PLANTED)
            subprocess.run([NVCC, "-std=c++20", "-gencode", "arch=compute_80,code=sm_80", "-gencode",
                            "arch=compute_90a,code=sm_90a", "-c", source, "-o", target],
                           check=True, capture_output=True)
            cls.kernels = {(kernel.name, kernel.architecture): kernel for kernel in cubin.read(target)}

    def test_what_breaks_a_rule_is_seen_in_what_nvcc_writes(self):
        self.assertEqual(len(self.kernels), 12)
        for architecture in kernel_table.BUDGETED:
            plain, stack, spill, shared, tensor = (self.kernels[name, architecture]
                                                   for name in ("plain", "stack", "spill", "shared", "tensor"))
            self.assertEqual((plain.stack, plain.local_loads, plain.local_stores, plain.shared, plain.hmma), (0,) * 5)
            self.assertEqual(plain.threads, 256)
            self.assertGreater(plain.registers, 0)
            self.assertGreater(plain.instructions, 4)
            self.assertGreaterEqual(stack.stack, 128)
            self.assertGreater(stack.local_loads * stack.local_stores, 0)
            self.assertLessEqual(spill.registers, 32)
            self.assertGreater(spill.local_loads * spill.local_stores, 0)
            self.assertEqual(shared.shared, 1200)
            self.assertEqual(tensor.hmma, 1)
            self.assertIn(("variant<3, true>", architecture), self.kernels)
            found = kernel_table.problems([stack, spill], {}, "")
            self.assertGreaterEqual(sum("none are allowed" in line for line in found), 4)


class File(unittest.TestCase):
    """What the file itself must say, so that a budget is not simply made to fit."""
    PRODUCTS = re.compile(r"(encode_topk|project_chunk)\w*_kernel<Precision\([12]\)")

    def test_products_in_16_bit_and_tf32_are_on_tensor_cores(self):
        _, budgets, _ = kernel_table.read_budgets(cases.ROOT / "cuda/budgets.tsv")
        products = {key: budget for key, budget in budgets.items() if self.PRODUCTS.match(key[0])}
        self.assertGreater(len(products), 10)
        self.assertEqual([key for key, budget in products.items() if budget.tensor == "-"], [])

    def test_hopper_kernels_use_wgmma(self):
        _, budgets, _ = kernel_table.read_budgets(cases.ROOT / "cuda/budgets.tsv")
        for (name, architecture), budget in budgets.items():
            if "hopper" in name and architecture == "sm_90a":
                self.assertEqual(budget.tensor, "hgmma", name)


@unittest.skipUnless(LIBRARY, "built without CUDA")
class Library(unittest.TestCase):
    def test_every_kernel_keeps_its_budget(self):
        kernels = cubin.read(LIBRARY)
        toolkit, budgets, stack = kernel_table.read_budgets(cases.ROOT / "cuda/budgets.tsv")
        self.assertEqual(kernel_table.problems(kernels, budgets, toolkit, stack), [])
        built = {kernel.architecture for kernel in kernels}
        print(f"{len(kernels)} kernels for {', '.join(sorted(built))}; registers compared: "
              f"{sum(kernel.toolkit == toolkit for kernel in kernels)}")
        self.assertGreater(len(kernels), 0)


if __name__ == "__main__":
    cases.run()
