"""Downloads from a server on the loopback are complete or leave nothing."""

import gzip
import os
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from torchvision.datasets import MNIST

from musigma.data import idx
from musigma.data.download import download, missing_files
from musigma.data.idx import FILES, check_raw_files
from musigma.data.mnist import MNISTDataModule
from script_server import server as script_server
from workbench.errors import DataError


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, archives, requests, *args):
        self.archives, self.requests = archives, requests
        super().__init__(*args)

    def do_GET(self):
        self.requests.append((self.command, self.path))
        data = self.archives.get(self.path.rpartition("/")[2])
        if data is None:
            self.send_error(404)
            return
        self.send_response(200)
        cut = len(data) // 2 if "/truncated/" in self.path else len(data)
        if "/corrupted/" in self.path:
            data = data[:100] + bytes(100) + data[200:]
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data[:cut])

    do_HEAD = do_GET

    def log_message(self, *args):
        pass


@pytest.fixture
def server(archives, resources, published, monkeypatch):
    """A mirror's address; `/truncated/` and `/corrupted/` below it are bad mirrors."""
    monkeypatch.setattr(MNIST, "resources", resources)
    requests = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, archives, requests))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", requests
    server.shutdown()
    thread.join()
    server.server_close()


def _nothing_is_left(root):
    raw = root / "MNIST" / "raw"
    return missing_files(raw) == list(FILES) and not list((root / "MNIST").glob(".download-*"))


def test_a_download_equals_the_files_byte_for_byte(server, tmp_path, raw_files):
    download(MNIST, tmp_path, [f"{server[0]}/"])
    folder = tmp_path / "MNIST" / "raw"
    assert {name: (folder / name).read_bytes() for name in FILES} == raw_files
    check_raw_files(folder)


@pytest.mark.parametrize("fault", ["truncated", "corrupted", "unreachable"])
def test_a_failed_download_leaves_nothing_behind(server, tmp_path, fault):
    mirror = "http://127.0.0.1:9/" if fault == "unreachable" else f"{server[0]}/{fault}/"
    with pytest.raises(DataError, match="download of MNIST failed"):
        download(MNIST, tmp_path, [mirror])
    assert _nothing_is_left(tmp_path)


def test_every_failed_mirror_is_named_even_if_its_error_has_no_text(tmp_path, monkeypatch):
    def fails(*_):
        raise ConnectionResetError

    monkeypatch.setattr("musigma.data.download.download_url", fails)
    with pytest.raises(DataError, match="\nhttp://a/: ConnectionResetError\nhttp://b/: Conn"):
        download(MNIST, tmp_path, ["http://a/", "http://b/"])


@pytest.mark.parametrize("fault", ["truncated", "corrupted"])
def test_the_next_mirror_is_tried_after_a_bad_one(server, tmp_path, fault, raw_files):
    download(MNIST, tmp_path, [f"{server[0]}/{fault}/", f"{server[0]}/"])
    assert (tmp_path / "MNIST" / "raw" / FILES[0]).read_bytes() == raw_files[FILES[0]]


def test_a_download_adds_only_missing_files(server, tmp_path, raw_files):
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    (folder / FILES[1]).write_bytes(b"mine")
    download(MNIST, tmp_path, [f"{server[0]}/"])
    assert (folder / FILES[1]).read_bytes() == b"mine"
    assert (folder / FILES[0]).read_bytes() == raw_files[FILES[0]]


def _data_without_network(root):
    return MNISTDataModule(root=root, mirrors=["http://127.0.0.1:9/"])


@pytest.mark.slow
# Which of the four files exist raw and which as .gz; a file in neither list exists as .gz.
@pytest.mark.parametrize("raw", [(), FILES[:1], FILES[1:3], FILES[:3]])
@pytest.mark.parametrize("packed", [FILES, ()])
def test_any_mixture_of_raw_files_and_archives_needs_no_network(
    raw, packed, archives, raw_files, published, tmp_path
):
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name in FILES:
        if name in raw:
            (folder / name).write_bytes(raw_files[name])
        if name not in raw or name in packed:
            (folder / f"{name}.gz").write_bytes(archives[f"{name}.gz"])
    _data_without_network(tmp_path).prepare_data()
    assert {name: (folder / name).read_bytes() for name in FILES} == raw_files
    assert not list((tmp_path / "MNIST").glob(".download-*"))


def test_only_missing_archives_are_fetched(server, archives, raw_files, tmp_path):
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    (folder / FILES[0]).write_bytes(raw_files[FILES[0]])
    (folder / f"{FILES[1]}.gz").write_bytes(archives[f"{FILES[1]}.gz"])
    (folder / f"{FILES[2]}.gz").write_bytes(archives[f"{FILES[2]}.gz"])
    download(MNIST, tmp_path, [f"{server[0]}/"])
    assert {path for method, path in server[1] if method == "GET"} == {f"/{FILES[3]}.gz"}
    check_raw_files(folder, "MNIST")


def _cut(data):
    return data[: len(data) // 2]


def _flipped(data):
    return data[:-100] + bytes([data[-100] ^ 1]) + data[-99:]


@pytest.mark.parametrize("damage", [_cut, _flipped, lambda _: b"<html>", lambda _: b""])
def test_a_damaged_archive_is_named_and_nothing_is_unpacked_from_it(
    damage, archives, published, tmp_path
):
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name, data in archives.items():
        (folder / name).write_bytes(damage(data) if name.startswith(FILES[2]) else data)
    data = MNISTDataModule(root=tmp_path, mirrors=["http://127.0.0.1:9/"], fallback="sample")
    with pytest.raises(DataError, match=f"{FILES[2]}.gz .*\n.*put an intact copy there"):
        data.prepare_data()
    assert data.source == "files"
    assert {path.name for path in folder.iterdir()} == {*FILES[:2], *archives, ".download.lock"}
    assert not list((tmp_path / "MNIST").glob(".download-*"))


def test_an_archive_with_another_digest_is_refused(archives, raw_files, published, tmp_path):
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    other = raw_files[FILES[0]][:-1] + b"\7"
    for name, data in {**archives, f"{FILES[0]}.gz": gzip.compress(other, 1)}.items():
        (folder / name).write_bytes(data)
    with pytest.raises(DataError, match=r"train-images.*\.gz .*differs from the published file"):
        _data_without_network(tmp_path).prepare_data()


def test_files_named_with_a_dot_are_to_be_renamed(tmp_path):
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    (folder / "train-images.idx3-ubyte").write_bytes(b"")
    with pytest.raises(DataError, match=r"rename train-images\.idx3-ubyte: -idx in place of"):
        _data_without_network(tmp_path).prepare_data()


def _a_file(place):
    place.write_text("")


def _a_link_to_nothing(place):
    place.symlink_to("/nowhere/at/all")


@pytest.mark.parametrize("make", [_a_file, _a_link_to_nothing])
@pytest.mark.parametrize("part", ["", "MNIST", "MNIST/raw"])
@pytest.mark.parametrize("use", [MNISTDataModule.prepare_data, lambda data: data.setup("fit")])
def test_a_root_that_is_not_a_folder_is_named(make, part, use, tmp_path):
    place = tmp_path / "root" / part
    place.parent.mkdir(parents=True, exist_ok=True)
    make(place)
    data = MNISTDataModule(root=tmp_path / "root", fallback="sample")
    with pytest.raises(DataError, match="root.* cannot be read: .*\n.*data.root=.*DATA_DIR"):
        use(data)
    assert data.source == "files"


@pytest.mark.parametrize("name", ["a\0b", "x" * 300])
@pytest.mark.parametrize("use", [MNISTDataModule.prepare_data, lambda data: data.setup("test")])
def test_a_root_with_an_impossible_name_is_reported(name, use, tmp_path):
    with pytest.raises(DataError, match="cannot be read: .*\n.*data.root="):
        use(MNISTDataModule(root=tmp_path / name))


def test_a_folder_without_read_permission_is_reported(tmp_path, monkeypatch):
    stat = os.stat

    def refuses(path, *args, **kwargs):
        if str(path).startswith(str(tmp_path)):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, *args, **kwargs)

    monkeypatch.setattr(os, "stat", refuses)
    for use in (MNISTDataModule.prepare_data, lambda data: data.setup("fit")):
        with pytest.raises(DataError, match="cannot be read: Permission denied"):
            use(MNISTDataModule(root=tmp_path, fallback="sample"))


def _download_in_a_process(resources, digests, root, mirror):
    MNIST.resources = resources
    idx.PUBLISHED["MNIST"] = digests
    download(MNIST, root, [mirror])


@pytest.mark.slow
def test_two_processes_download_once_and_share_the_files(server, resources, published, tmp_path):
    address, requests = server
    download(MNIST, tmp_path / "alone", [f"{address}/"])
    of_one_download = sorted(requests)
    requests.clear()
    arguments = (resources, published, tmp_path, f"{address}/")
    processes = [
        script_server().Process(target=_download_in_a_process, args=arguments) for _ in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    check_raw_files(tmp_path / "MNIST" / "raw")
    assert sorted(requests) == of_one_download


def test_an_unwritable_folder_is_reported(tmp_path):
    (tmp_path / "MNIST").write_text("a file where a folder belongs")
    with pytest.raises(DataError, match="Cannot write the data set to .*\n.*data.root"):
        download(MNIST, tmp_path, ["http://127.0.0.1:9/"])


def test_no_files_and_no_network_says_where_the_files_belong(tmp_path):
    data = MNISTDataModule(root=tmp_path, mirrors=["http://127.0.0.1:9/"])
    with pytest.raises(DataError) as error:
        data.prepare_data()
    message = str(error.value)
    assert str(tmp_path / "MNIST" / "raw") in message
    assert all(name in message for name in FILES)
    assert "data.fallback=sample" in message


def test_damaged_files_are_an_error_even_with_a_fallback(raw_folder):
    (raw_folder / FILES[0]).write_bytes(b"short")
    data = MNISTDataModule(root=raw_folder.parents[1], fallback="sample")
    with pytest.raises(DataError, match="train-images"):
        data.prepare_data()
    assert data.source == "files"
