"""Downloads from a server on the loopback: whole or not at all."""

import multiprocessing
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from torchvision.datasets import MNIST

from musigma.data.download import download, missing_files
from musigma.data.idx import FILES, check_raw_files
from musigma.data.mnist import MNISTDataModule
from musigma.errors import DataError


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
def server(archives, resources, monkeypatch):
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


def test_whole_download_arrives_byte_for_byte(server, tmp_path, raw_files):
    download(MNIST, tmp_path, [f"{server[0]}/"])
    folder = tmp_path / "MNIST" / "raw"
    assert {name: (folder / name).read_bytes() for name in FILES} == raw_files
    check_raw_files(folder)


@pytest.mark.parametrize("fault", ["truncated", "corrupted", "unreachable"])
def test_bad_download_leaves_nothing_behind(server, tmp_path, fault):
    mirror = "http://127.0.0.1:9/" if fault == "unreachable" else f"{server[0]}/{fault}/"
    with pytest.raises(DataError, match="download of MNIST failed"):
        download(MNIST, tmp_path, [mirror])
    assert _nothing_is_left(tmp_path)


def test_every_mirror_is_named_even_where_its_error_has_no_words(tmp_path, monkeypatch):
    def fails(*_):
        raise ConnectionResetError

    monkeypatch.setattr(MNIST, "download", fails)
    with pytest.raises(DataError, match="\nhttp://a/: ConnectionResetError\nhttp://b/: Conn"):
        download(MNIST, tmp_path, ["http://a/", "http://b/"])


@pytest.mark.parametrize("fault", ["truncated", "corrupted"])
def test_the_next_mirror_is_tried(server, tmp_path, fault, raw_files):
    download(MNIST, tmp_path, [f"{server[0]}/{fault}/", f"{server[0]}/"])
    assert (tmp_path / "MNIST" / "raw" / FILES[0]).read_bytes() == raw_files[FILES[0]]


def test_only_what_is_missing_is_put_in_place(server, tmp_path, raw_files):
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    (folder / FILES[1]).write_bytes(b"mine")
    download(MNIST, tmp_path, [f"{server[0]}/"])
    assert (folder / FILES[1]).read_bytes() == b"mine"
    assert (folder / FILES[0]).read_bytes() == raw_files[FILES[0]]


def test_archives_put_there_by_hand_need_no_network(archives, resources, tmp_path, monkeypatch):
    monkeypatch.setattr(MNIST, "resources", resources)
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name, data in archives.items():
        (folder / name).write_bytes(data)
    download(MNIST, tmp_path, ["http://127.0.0.1:9/"])
    check_raw_files(folder)


def _download_in_a_process(resources, root, mirror):
    MNIST.resources = resources
    download(MNIST, root, [mirror])


@pytest.mark.slow
def test_two_processes_download_once_and_both_find_the_files(server, resources, tmp_path):
    address, requests = server
    download(MNIST, tmp_path / "alone", [f"{address}/"])
    of_one_download = sorted(requests)
    requests.clear()
    context = multiprocessing.get_context("spawn")
    arguments = (resources, tmp_path, f"{address}/")
    processes = [context.Process(target=_download_in_a_process, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    check_raw_files(tmp_path / "MNIST" / "raw")
    assert sorted(requests) == of_one_download


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
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
