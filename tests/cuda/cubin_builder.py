"""Writes small ELF images, fat binaries and static libraries for tests of scripts/cubin.py."""
import struct

CUDA_MACHINE = 190
PROGRAM_BITS, STRINGS, SYMBOLS, NO_BITS = 1, 3, 2, 8


def attribute(kind, *words):
    """A record of .nv.info whose value follows."""
    return struct.pack(f"<BBH{len(words)}I", 4, kind, 4 * len(words), *words)


def instruction(operation):
    return struct.pack("<QQ", 0xABCD000 | operation, 0x123456789ABCDEF0)


def elf(sections, machine=CUDA_MACHINE, flags=0x5A04, abi=8):
    """sections: [(name, content or size of a section without bits)]"""
    names, starts = b"\0", []
    for name, _ in sections + [(".shstrtab", b"")]:
        starts.append(len(names))
        names += name.encode() + b"\0"
    body, headers = b"", [bytes(64)]
    for (name, content), start in zip(sections + [(".shstrtab", names)], starts):
        no_bits = isinstance(content, int)
        kind = SYMBOLS if name == ".symtab" else STRINGS if name.endswith("tab") else PROGRAM_BITS
        kind = NO_BITS if no_bits else kind
        size = content if no_bits else len(content)
        headers.append(struct.pack("<IIQQQQIIQQ", start, kind, 0, 0, 64 + len(body), size, 0, 0, 1, 0))
        body += b"" if no_bits else content
    head = b"\x7fELF\x02\x01\x01\0" + bytes([abi]) + bytes(7) + struct.pack(
        "<HHIQQQIHHHHHH", 2, machine, 1, 0, 0, 64 + len(body), flags, 64, 0, 0, 64, len(headers), len(headers) - 1)
    return head + body + b"".join(headers)


def image(name="k", registers=40, frame=0, operations=(), shared=0, threads=None, architecture="sm_90a",
          **header):
    """One kernel as ptxas writes it; symbol 1 is the kernel."""
    strings = b"\0" + name.encode() + b"\0"
    symbols = bytes(24) + struct.pack("<IBBHQQ", 1, 0x12, 0, 0, 0, 0)
    info = attribute(0x2F, 1, registers) + attribute(0x11, 1, frame) + attribute(0x12, 1, 0)
    own = struct.pack("<BBH", 3, 0x1B, 255) + (attribute(0x05, *threads) if threads else b"")
    sections = [(".strtab", strings), (".symtab", symbols), (".nv.info", info), (f".nv.info.{name}", own),
                (f".text.{name}", b"".join(map(instruction, operations)))]
    if architecture:
        sections.append((".note.nv.tkinfo", f"ptxas\0tools, release 13.0, V13\0-arch {architecture} -m 64\0".encode()))
    if shared:
        sections.append((f".nv.shared.{name}", shared))
    return elf(sections, **header)


def fatbin(entries):
    """entries: [(kind, payload)], kind 1 PTX, 2 machine code"""
    body = b"".join(struct.pack("<HHIQQIIIIIIQQ", kind, 0x101, 64, len(payload), 0, 0, 90, 0, 0, 0, 0, 0, 0) + payload
                    for kind, payload in entries)
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(body)) + body


def host_object(fatbins):
    return elf([(".text", b"\x90" * 5), (".nv_fatbin", b"".join(blob + bytes(-len(blob) % 8) for blob in fatbins))],
               machine=62, flags=0)


def archive(members):
    """A static library as GNU ar writes it: names over 15 letters stand in a table."""
    data, long_names = b"", b""
    for name, content in members:
        if len(name) > 15:
            entry = f"/{len(long_names)}"
            long_names += name.encode() + b"/\n"
        else:
            entry = name + "/"
        data += header(entry, len(content)) + content + b"\n" * (len(content) % 2)
    table = header("//", len(long_names)) + long_names + b"\n" * (len(long_names) % 2) if long_names else b""
    return b"!<arch>\n" + header("/", 4) + bytes(4) + table + data


def header(name, size):
    return f"{name:<16}{0:<12}{0:<6}{0:<6}{'644':<8}{size:<10}`\n".encode()
