"""`titans-seq kernel`: build the memory's C++ kernel for this machine's processor."""

from dataclasses import dataclass
from typing import Any

from titans_seq.pipelines.options import JsonOption


@dataclass(frozen=True, kw_only=True)
class Kernel(JsonOption):
    """Build the C++ kernel that speeds the memory up on processors; needs a C++ compiler, once."""

    force: bool = False
    """Build it again."""

    def run(self) -> dict[str, Any]:
        """Build, and say how long it took."""
        from titans_seq.kernel import build_kernel

        seconds = build_kernel(self.force)
        if not self.json:
            print(f"kernel built in {seconds:.0f} s" if seconds > 1 else "kernel ready")
        return {"seconds": round(seconds, 1)}
