"""A FUSE file system that answers nothing: `hanging_mount.py MOUNTPOINT`. Whoever asks it hangs in the kernel (state D).

It speaks the first word of the protocol (FUSE_INIT, see linux/fuse.h) and then reads requests without answering. Ending this
program releases all who hang. Needs root.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

FUSE_INIT = 26


def main(mountpoint: str) -> None:
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"hanging", mountpoint.encode(), b"fuse.hanging", 0, options) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), mountpoint)
    while True:
        request = os.read(device, 1 << 17)
        _, opcode, unique = struct.unpack_from("<IIQ", request)
        if opcode == FUSE_INIT:
            answer = struct.pack("<IIIIHHIIHHI28x", 7, 31, 65536, 0, 16, 12, 65536, 1, 0, 0, 0)
            os.write(device, struct.pack("<IiQ", 16 + len(answer), 0, unique) + answer)
            print("mounted", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
