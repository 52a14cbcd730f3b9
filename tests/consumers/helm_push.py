# Helm's registry client pushes a chart into a private registry and pulls it again, with the configuration that it looks for by itself.
import io
import os
import tarfile

from helm_python.registry import RegistryClient

project = "oci://{REGISTRY}/{NAMESPACE}".format(**os.environ)
chart = b"apiVersion: v2\nname: pushed\nversion: 0.2.0\n"
with tarfile.open("/tmp/pushed-0.2.0.tgz", "w:gz") as archive:
    entry = tarfile.TarInfo("pushed/Chart.yaml")
    entry.size = len(chart)
    archive.addfile(entry, io.BytesIO(chart))
with RegistryClient() as client:
    client.push("/tmp/pushed-0.2.0.tgz", project)
    os.makedirs("/tmp/pulled", exist_ok=True)
    client.pull(project + "/pushed", version="0.2.0", destination="/tmp/pulled")
assert open("/tmp/pulled/pushed-0.2.0.tgz", "rb").read() == open("/tmp/pushed-0.2.0.tgz", "rb").read()
