"""Reads what ptxas made of each kernel from object files, static libraries and cubins: registers, stack, shared memory,
and the instructions that matter. Needs no tool of the CUDA toolkit.

Where the numbers stand: an object file carries fat binaries (magic 0xba55ed50), each a list of PTX texts and ELF
images, one a compute capability. An image's .nv.info sections hold attributes, its .text.<kernel> sections
instructions of 16 bytes whose lowest 12 bits are the operation.
"""
import dataclasses
import pathlib
import re
import struct
import subprocess

ARCHIVE_MAGIC = b"!<arch>\n"
ELF_MAGIC = b"\x7fELF"
FATBIN_MAGIC = struct.pack("<I", 0xBA55ED50)
CUDA_MACHINE = 190
# Attributes of .nv.info. Their values are (symbol, number), but for MAX_THREADS: (x, y, z) of a launch bound.
REGISTER_COUNT, FRAME_SIZE, MIN_STACK_SIZE, MAX_THREADS = 0x2F, 0x11, 0x12, 0x05
NO_BITS = 8  # a section that takes no room in the file
DRIVER_SHARED = 1024
# Operations, as a disassembler showed them.
OPERATIONS = {0x23C: "hmma", 0x9F0: "hgmma", 0x983: "local_loads", 0x387: "local_stores", 0xFAE: "async_copies"}


class CubinError(Exception):
    """A file that does not hold what it should; the message is one line."""


@dataclasses.dataclass
class Kernel:
    """One kernel for one architecture; sizes in bytes. What is not known stays 0."""
    name: str
    architecture: str
    toolkit: str = ""
    registers: int = 0
    stack: int = 0
    shared: int = 0  # static; what a launch adds is not in the binary
    threads: int = 0  # of the launch bound
    instructions: int = 0
    hmma: int = 0
    hgmma: int = 0
    local_loads: int = 0
    local_stores: int = 0
    async_copies: int = 0


class Elf:
    """Sections and symbols of a 64-bit little-endian ELF image."""

    def __init__(self, data, where):
        self.data, self.where = data, where
        if len(data) < 64 or data[:6] != ELF_MAGIC + b"\x02\x01":
            raise CubinError(f"{where}: not a 64-bit little-endian ELF image")
        self.machine = struct.unpack_from("<H", data, 18)[0]
        self.flags = struct.unpack_from("<I", data, 48)[0]
        table = struct.unpack_from("<Q", data, 40)[0]
        size, count, names = struct.unpack_from("<HHH", data, 58)
        if size != 64 or table + size * count > len(data) or names >= count:
            raise CubinError(f"{where}: the section table lies outside the {len(data)} bytes there are")
        # name, type, flags, address, offset, size, link, info, alignment, entry size
        headers = [struct.unpack_from("<IIQQQQIIQQ", data, table + size * i) for i in range(count)]
        self.contents = [self.content(header) for header in headers]
        self.sizes = [header[5] for header in headers]
        self.names = [self.text(self.contents[names], header[0]) for header in headers]

    def content(self, header):
        kind, offset, size = header[1], header[4], header[5]
        if kind == NO_BITS:
            return b""
        if offset + size > len(self.data):
            raise CubinError(f"{self.where}: a section of {size} bytes at {offset} ends after the {len(self.data)} "
                             "bytes there are")
        return self.data[offset:offset + size]

    @staticmethod
    def text(strings, at):
        return strings[at:strings.find(b"\0", at)].decode("ascii", "replace")

    def section(self, name):
        return self.contents[self.names.index(name)] if name in self.names else b""

    def symbols(self):
        table, strings = self.section(".symtab"), self.section(".strtab")
        return [self.text(strings, struct.unpack_from("<I", table, at)[0]) for at in range(0, len(table) - 23, 24)]


def attributes(content, where):
    """(attribute, value words) of a .nv.info section, without values of one or two bytes, which nothing here needs."""
    at, found = 0, []
    while at + 4 <= len(content):
        form, attribute, size = struct.unpack_from("<BBH", content, at)
        at += 4
        if form == 4:  # the value follows; otherwise `size` is the value
            if at + size > len(content):
                raise CubinError(f"{where}: attribute {attribute:#x} of {size} bytes ends after its section")
            found.append((attribute, struct.unpack_from(f"<{size // 4}I", content, at)))
            at += size
    return found


def kernels_of_image(data, where):
    """The kernels of one ELF image for the GPU."""
    elf = Elf(data, where)
    if elf.machine != CUDA_MACHINE:
        raise CubinError(f"{where}: an ELF image for machine {elf.machine}, not a GPU's ({CUDA_MACHINE})")
    note = elf.section(".note.nv.tkinfo").decode("latin-1")
    target = re.search(r"-arch (sm_\w+)", note)
    release = re.search(r"release (\d+\.\d+)", note)
    flags = elf.flags >> 8 if data[8] >= 8 else elf.flags  # byte 8: the ABI's version; CUDA 12 wrote 7
    architecture = target.group(1) if target else f"sm_{flags & 0xFF}"
    kernels = {name[len(".text."):]: Kernel(name[len(".text."):], architecture, release.group(1) if release else "")
               for name in elf.names if name.startswith(".text.")}
    symbols = elf.symbols()
    for attribute, words in attributes(elf.section(".nv.info"), where):
        if attribute not in (REGISTER_COUNT, FRAME_SIZE, MIN_STACK_SIZE):
            continue
        if words[0] >= len(symbols):
            raise CubinError(f"{where}: an attribute of symbol {words[0]}, but there are {len(symbols)} symbols")
        kernel = kernels.get(symbols[words[0]])
        if kernel is None:
            continue  # a function of the compiler's own that no kernel kept
        if attribute == REGISTER_COUNT:
            kernel.registers = words[1]
        else:
            kernel.stack = max(kernel.stack, words[1])
    for name, kernel in kernels.items():
        if kernel.registers == 0:
            raise CubinError(f"{where}: no register count for {name}")
        if f".nv.shared.{name}" in elf.names:
            kernel.shared = elf.sizes[elf.names.index(f".nv.shared.{name}")]
            if int(re.sub(r"\D", "", architecture)) >= 90:  # its images count what the driver keeps for itself
                kernel.shared = max(kernel.shared - DRIVER_SHARED, 0)
        for attribute, words in attributes(elf.section(f".nv.info.{name}"), where):
            if attribute == MAX_THREADS:
                kernel.threads = words[0] * words[1] * words[2]
        count_instructions(kernel, elf.section(f".text.{name}"))
    return list(kernels.values())


def count_instructions(kernel, code):
    for at in range(0, len(code) - 15, 16):
        operation = OPERATIONS.get(code[at] | (code[at + 1] & 0x0F) << 8)
        if operation:
            setattr(kernel, operation, getattr(kernel, operation) + 1)
    kernel.instructions = len(code) // 16


def images_of_fatbin(data, at, where):
    """The ELF images of the fat binary that begins at `at`."""
    _, _, header, size = struct.unpack_from("<IHHQ", data, at)
    entry, end = at + header, at + header + size
    if end > len(data):
        raise CubinError(f"{where}: a fat binary of {size} bytes ends after the {len(data)} bytes there are")
    while entry < end:
        kind, _, entry_header, payload = struct.unpack_from("<HHIQ", data, entry)
        if kind == 2:
            image = data[entry + entry_header:entry + entry_header + payload]
            if image[:4] != ELF_MAGIC:
                raise CubinError(f"{where}: compressed machine code; build with nvcc's --no-compress")
            yield image
        entry += entry_header + payload


def members(data, where):
    """(name, content) of a static library, the tables of symbols and long names left out."""
    at, long_names = len(ARCHIVE_MAGIC), b""
    while at + 60 <= len(data):
        name, size = data[at:at + 16].decode("latin-1").rstrip(), data[at + 48:at + 58]
        if not size.strip().isdigit():
            raise CubinError(f"{where}: not a member of a static library at byte {at}")
        size = int(size)
        content = data[at + 60:at + 60 + size]
        at += 60 + size + size % 2
        if name == "//":
            long_names = content
        elif name not in ("/", "/SYM64/"):
            if re.fullmatch(r"/\d+", name):
                start = int(name[1:])
                name = long_names[start:long_names.find(b"/\n", start)].decode("latin-1")
            yield name.rstrip("/"), content


def kernels_of_data(data, where):
    if data[:8] == ARCHIVE_MAGIC:
        return [kernel for name, content in members(data, where)
                for kernel in kernels_of_data(content, f"{where}({name})")]
    if data[:4] == ELF_MAGIC and struct.unpack_from("<H", data, 18)[0] == CUDA_MACHINE:
        return kernels_of_image(data, where)
    if data[:4] != ELF_MAGIC:
        raise CubinError(f"{where}: neither a static library, nor an object file, nor a cubin")
    fatbins = Elf(data, where).section(".nv_fatbin")
    found, at = [], fatbins.find(FATBIN_MAGIC)
    while at >= 0:
        for image in images_of_fatbin(fatbins, at, where):
            found += kernels_of_image(image, where)
        header, size = struct.unpack_from("<HQ", fatbins, at + 6)
        at = fatbins.find(FATBIN_MAGIC, at + header + size)
    return found


def short_names(names):
    """{mangled: without parameters and our namespaces}, by c++filt; unchanged where that is not installed."""
    names = sorted(set(names))
    try:
        done = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return {name: name for name in names}
    return {name: shorten(text) for name, text in zip(names, done.stdout.splitlines())}


def shorten(signature):
    """void branchsae::cuda::f<(branchsae::cuda::P)2, 64>(int*) -> f<P(2), 64>"""
    depth = 0
    for at, letter in enumerate(signature):
        depth += (letter == "<") - (letter == ">")
        if letter == "(" and depth == 0 and not signature.startswith("(anonymous namespace)", at):
            signature = signature[:at]
            break
    name = re.sub(r"^void ", "", signature)
    name = name.replace("(anonymous namespace)::", "").replace("branchsae::cuda::", "")
    return re.sub(r"\(([\w:]+)\)(-?\w+)", r"\1(\2)", name)


def read(path):
    """The kernels in a file, one for each architecture, under short names; equal copies in several objects once."""
    path = pathlib.Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CubinError(f"{path}: {error.strerror}") from error
    kernels = kernels_of_data(data, str(path))
    names = short_names(kernel.name for kernel in kernels)
    unique = {}
    for kernel in kernels:
        kernel.name = names[kernel.name]
        unique[dataclasses.astuple(kernel)] = kernel
    return sorted(unique.values(), key=lambda kernel: (kernel.name, int(re.sub(r"\D", "", kernel.architecture))))
