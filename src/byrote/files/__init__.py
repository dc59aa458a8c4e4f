"""Files that are complete or absent: atomic writes, checksums, downloads, archives.

All parts of byrote write files through `atomic`. All input from outside (archives, downloads) is limited in size and
checked here before use.
"""

from byrote.files.archive import extract
from byrote.files.atomic import WriteError, atomic, create_atomic, write_atomic
from byrote.files.checksums import cache_folder, md5, sha256, verify
from byrote.files.download import DataUnavailableError, Progress, download
from byrote.files.place import is_address, on_this_machine
from byrote.files.process import Process, this_process

__all__ = [
    "DataUnavailableError",
    "Process",
    "Progress",
    "WriteError",
    "atomic",
    "cache_folder",
    "create_atomic",
    "download",
    "extract",
    "is_address",
    "md5",
    "on_this_machine",
    "sha256",
    "this_process",
    "verify",
    "write_atomic",
]
