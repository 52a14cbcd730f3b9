# Helm's registry client (the Go library in helm-python-sdk), with the registry configuration that it looks for by itself.
import os

from helm_python.registry import RegistryClient

chart = "oci://{REGISTRY}/{NAMESPACE}/chart".format(**os.environ)
with RegistryClient() as client:
    assert client.tags(chart.removeprefix("oci://")) == ["0.1.0"]
    client.pull(chart, version="0.1.0", destination="/tmp")
assert os.path.getsize("/tmp/chart-0.1.0.tgz") > 0
