"""scripts/roofline.py: its counts, and that docs/cuda.md shows what it prints."""
import sys
import unittest

import cases

sys.path.insert(0, str(cases.ROOT / "scripts"))
import roofline  # noqa: E402


class Roofline(unittest.TestCase):
    def works(self, *shape, gpu=roofline.H100):
        return {work.kernel.split(" ")[0]: work for work in roofline.step(*shape, 32, gpu)}

    def test_the_document_shows_the_tables(self):
        text = (cases.ROOT / "docs/cuda.md").read_text(encoding="utf-8")
        self.assertIn(roofline.document(32), text, "docs/cuda.md: put in what scripts/roofline.py prints")

    def test_counts_of_one_shape(self):
        works = self.works(65536, 128, 2048)
        self.assertEqual(works["encode_topk"].tensor, 2 * 65536 * 128 * 2048)
        self.assertEqual(works["encode_topk"].l2, 2 * 128 * 2048 * 65536 / 96)
        self.assertEqual(works["decode_grad"].l2, 65536 * 32 * 128 * 2)
        self.assertEqual(works["tied_dw"].shared, 65536 * 32 * 4 * 32 * 4)  # 4 slices of 32 channels of 4 bytes
        floor, bound = works["decode_grad"].floor(roofline.H100)
        self.assertAlmostEqual(floor, 536.870912e6 / 5.5e12 * 1e6)
        self.assertEqual(bound, "L2")

    def test_a_kernel_takes_the_largest_of_its_limits(self):
        work = roofline.Work("k", tensor=790e6, memory=4.3e6 * 3, l2=5.5e6 * 2)
        self.assertEqual(work.floor(roofline.H200), (3.0, "memory"))
        self.assertEqual(set(work.limits(roofline.H200)), {"tensor cores", "memory", "L2"})

    def test_wide_autoencoders_gather_from_l2(self):
        for shape, gathers in (((65536, 48, 768), False), ((65536, 128, 2048), False), ((16384, 768, 32768), True)):
            self.assertEqual(roofline.dw_rows(*shape, 32, roofline.H100) == 0, gathers, shape)

    def test_padding_counts(self):
        self.assertEqual(roofline.up(48, 32), 64)
        self.assertEqual(self.works(1024, 33, 768)["tied_dw"].shared, self.works(1024, 64, 768)["tied_dw"].shared)

    def test_shapes_that_are_none(self):
        for text in ("1,2", "1,2,x", "0,2,3", ""):
            with self.assertRaises(roofline.argparse.ArgumentTypeError):
                roofline.parse_shape(text)


if __name__ == "__main__":
    cases.run()
