"""A local object store, for tests of stores in a bucket."""

import importlib
import os
from contextlib import contextmanager

__all__ = ["BUCKET", "served", "variables"]

BUCKET = "bucket"
_NAMES = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION")


def variables(address):
    """Return the environment variables that a process needs to reach the server."""
    return dict(zip(_NAMES, (address, "test", "test", "us-east-1"), strict=True))


@contextmanager
def served():
    """Run a moto server with one bucket in this process; set its address in the environment and yield it."""
    server = importlib.import_module("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    before = {name: os.environ.get(name) for name in _NAMES}
    os.environ.update(variables(address))
    try:
        boto3 = importlib.import_module("boto3")
        boto3.client("s3", endpoint_url=address, region_name="us-east-1").create_bucket(Bucket=BUCKET)
        yield address
    finally:
        server.stop()
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
