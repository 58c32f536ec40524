"""The doctor on this machine, and on simulated ones where something is wrong."""

import dataclasses
import gzip
import os
import struct
import subprocess
import sys
import warnings
from types import SimpleNamespace

import pytest
import torch

from musigma.data.checks import data_sets
from musigma.data.idx import FILES, SHAPES
from musigma.paths import PROJECT_ROOT
from script_server import python
from workbench import doctor, project


def run_doctor(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "scripts/doctor.py"],
        cwd=PROJECT_ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def problems(check):
    return [finding for finding in check() if finding.level == "PROBLEM"]


@pytest.fixture
def pretend(tmp_path, monkeypatch):
    """A function that makes a package look installed: name, version and requirements."""

    def install(name: str, version: str, *requires: str) -> None:
        folder = tmp_path / "site" / f"{name}-{version}.dist-info"
        folder.mkdir(parents=True)
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        lines += [f"Requires-Dist: {requirement}" for requirement in requires]
        (folder / "METADATA").write_text("\n".join(lines) + "\n")
        monkeypatch.syspath_prepend(tmp_path / "site")

    return install


@pytest.mark.slow
def test_a_working_machine_has_no_problems_and_the_output_is_aligned(tmp_path):
    done = python("scripts/doctor.py", env={**os.environ, "DATA_DIR": str(tmp_path / "empty")})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    *lines, _, verdict = done.stdout.splitlines()
    assert verdict == "no problems"
    assert {line[:9].strip() for line in lines} == {"ok", "note", ""}
    about = {line[9:24].strip() for line in lines}
    assert about >= {"python", "torch", "imports", "cpu", "torch.compile", "MNIST", "logs"}


@pytest.mark.slow
def test_broken_packages_are_explained_and_malicious_ones_never_imported(pretend, tmp_path):
    pretend("lightning", "2.6.3")
    loot = tmp_path / "stolen"
    (tmp_path / "site" / "lightning.py").write_text(f"open({str(loot)!r}, 'w').close()\n")
    pretend("torchvision", "0.20.0", "numpy", "torch==2.5.0")
    (tmp_path / "site" / "torchvision.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')\n"
    )
    done = run_doctor(PYTHONPATH=str(tmp_path / "site"))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    for words in (
        "2.6.3 is MALICIOUS",
        "0.20.0 is too old, needed: >=0.23",
        "0.20.0 is made for torch==2.5.0, and torch is ",
        "torchvision cannot be imported: RuntimeError: operator torchvision::nms does not exist",
        "pip install --force-reinstall torch torchvision",
        "checked once musigma can be imported",
        "4 problems",
    ):
        assert words in " ".join(done.stdout.split()), done.stdout
    assert not loot.exists()


def test_a_package_that_is_too_old_or_missing_is_a_problem(pretend):
    pretend("musigma", "1.0", "numpy>=2.0", "nobody-has-this>=1", 'pytest>=99; extra == "dev"')
    pretend("numpy", "1.26.4")
    old, missing = problems(doctor.packages)
    assert (old.about, old.what) == ("numpy", "1.26.4 is too old, needed: >=2.0")
    assert (missing.about, missing.what) == (
        "nobody-has-this",
        "is missing, needed: nobody-has-this>=1",
    )
    assert old.advice == missing.advice == "pip install -e '.[dev]'"


@pytest.mark.parametrize("name", ["musigma", "packaging"])
def test_versions_that_cannot_be_compared_are_a_problem(name, monkeypatch):
    version = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda package: package != name and version(package))
    (finding,) = problems(doctor.packages)
    assert finding.about == name
    assert not problems(doctor.imports)


@pytest.mark.parametrize("version", ["2.6.2", "2.6.3"])
def test_a_malicious_lightning_release_is_reported_as_such(version, pretend):
    pretend("lightning", version)
    (finding,) = problems(doctor.packages)
    assert finding.what == f"{version} is MALICIOUS: importing it steals credentials"
    assert "password" in finding.advice
    (finding,) = problems(doctor.imports)
    assert "musigma cannot be imported" in finding.what


def test_a_nightly_build_is_not_too_old(pretend):
    pretend("torch", "2.99.0.dev20300101+cu130")
    assert not problems(doctor.packages)


def test_a_gpu_is_shown_with_its_memory_and_torchs_warnings(monkeypatch):
    def properties(number):
        warnings.warn("this GPU is too old", stacklevel=1)
        return SimpleNamespace(name=f"GPU {number}", total_memory=8 * doctor.GIB)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", properties)
    (_, gpu, *_) = doctor.devices()
    assert gpu == ("note", "gpu", "GPU 0, 8 GiB", "this GPU is too old\n")


def test_a_cuda_build_of_torch_without_a_gpu_is_a_note(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    (cpu, gpu) = doctor.devices()
    assert cpu.level == "ok"
    assert (gpu.level, gpu.about) == ("note", "gpu")
    assert "torch is built for CUDA 13.0" in gpu.what


def test_torch_compile_without_a_compiler_is_a_note(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    (finding,) = doctor.compiler()
    assert (finding.level, finding.about) == ("note", "torch.compile")


def test_missing_data_is_a_note_that_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    findings = list(data_sets())
    assert [finding.about for finding in findings] == ["MNIST", "FashionMNIST", "KMNIST"]
    assert {finding.level for finding in findings} == {"note"}
    assert str(tmp_path / "KMNIST" / "raw") in findings[2].what
    assert "downloads them" in findings[2].advice
    assert "data.fallback=sample" in findings[0].advice


def test_damaged_data_is_a_problem(tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    folder = tmp_path / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    for name in FILES:
        (folder / name).write_bytes(b"<html>")
    (finding,) = problems(data_sets)
    assert finding.about == "FashionMNIST"
    assert f"{FILES[0]} has 6 bytes" in finding.what
    assert "Remove it" in finding.advice


def test_a_data_folder_that_is_a_file_is_a_problem(tmp_path, monkeypatch):
    (tmp_path / "data").write_text("")
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    findings = problems(data_sets)
    assert [finding.about for finding in findings] == ["MNIST", "FashionMNIST", "KMNIST"]
    assert "cannot be read: Not a directory" in findings[0].what
    assert "DATA_DIR" in findings[0].advice


def test_mnist_files_with_other_digests_are_a_problem_compressed_or_not(tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    for name in ("MNIST", "KMNIST"):
        folder = tmp_path / name / "raw"
        folder.mkdir(parents=True)
        for file, (count, *sides) in SHAPES.items():
            if sides:
                images = struct.pack(">4I", 2051, count, *sides) + bytes(count * 784)
                (folder / file).write_bytes(images)
            else:
                labels = gzip.compress(struct.pack(">2I", 2049, count) + bytes(count))
                (folder / f"{file}.gz").write_bytes(labels)
    (finding,) = problems(data_sets)
    assert finding.about == "MNIST"
    assert f"{FILES[0]} is damaged" in finding.what
    assert {(f.level, f.about) for f in data_sets()} >= {
        ("ok", "KMNIST"),
        ("note", "FashionMNIST"),
    }


def test_an_unwritable_log_dir_is_a_problem(tmp_path, monkeypatch):
    (tmp_path / "logs").write_text("a file, and no folder")
    here = dataclasses.replace(project.the_project(), root=tmp_path)
    monkeypatch.setattr(project, "_current", [here])
    (finding,) = problems(doctor.logs)
    assert "cannot be written" in finding.what
    assert "log_dir=" in finding.advice
