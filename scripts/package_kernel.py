"""Write `soundclip_hf.kernels` as a repository for the Hub of kernels.

    python scripts/package_kernel.py out/soundclip-kernels --repo org/soundclip-kernels

Upload it with `kernel-builder upload`, or build from it with `kernel-builder build-and-upload`.
"""

import argparse
from pathlib import Path

from soundclip_hf.publishing.kernel_folder import write_kernel_folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repo", required=True, help="org/name on the Hub")
    options = parser.parse_args()
    for path in write_kernel_folder(options.folder, options.repo):
        print(path)


if __name__ == "__main__":
    main()
