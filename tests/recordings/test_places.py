"""Where a database is looked for, how it is fetched from a server on this machine, and how its files are checked."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ecglens.errors import EcglensError
from ecglens.recordings import databases, places
from ecglens.recordings.databases import DATABASES, Database
from ecglens.recordings.places import LIST, checksums_in, fetch, find_database, records_present, verify

CONTENT = {"1.hea": b"1 2 360 10\n", "1.dat": bytes(range(250)) * 300, "1.atr": b"\x00\x00", "README": b""}


@dataclass
class Server:
    """A server on this machine: what it gives out lies in `folder`, what it was asked for is in `asked`."""

    folder: Path
    address: str
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    folder = tmp_path / "published" / "tiny"
    folder.mkdir(parents=True)
    for name, content in CONTENT.items():
        (folder / name).write_bytes(content)
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_request(self, *_: object) -> None:
            asked.append(self.path.removeprefix("/tiny/"))

        def log_error(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder.parent))) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.02,))
        thread.start()
        yield Server(folder, f"http://127.0.0.1:{http.server_address[1]}/tiny/", asked)
        http.shutdown()
        thread.join()


@pytest.fixture
def tiny(server: Server, monkeypatch: pytest.MonkeyPatch) -> Database:
    """A database of four files on that server, known by the name 'tiny'."""
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}
    monkeypatch.setattr(databases, "_checksums", lambda name: {"tiny": sums}[name])
    which = replace(DATABASES["mitdb"], name="tiny", title="Tiny Database", address=server.address)
    monkeypatch.setitem(DATABASES, "tiny", which)
    return which


@pytest.fixture
def nobody() -> str:
    """An address at which nobody answers."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    return f"http://127.0.0.1:{port}/tiny/"


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.is_dir() else {}


def test_every_file_is_fetched_once_and_nothing_else_is_left(tiny: Database, server: Server, tmp_path: Path) -> None:
    assert fetch(tiny, tmp_path / "data") == list(CONTENT)
    assert content_of(tmp_path / "data" / "tiny") == CONTENT
    assert server.asked == list(CONTENT)


def test_files_that_are_right_already_are_not_asked_for(tiny: Database, server: Server, tmp_path: Path) -> None:
    fetch(tiny, tmp_path)
    server.asked.clear()
    assert fetch(tiny, tmp_path) == []
    assert server.asked == []


def test_only_missing_and_wrong_files_are_fetched_again(tiny: Database, server: Server, tmp_path: Path) -> None:
    fetch(tiny, tmp_path)
    server.asked.clear()
    (tmp_path / "tiny" / "1.dat").write_bytes(CONTENT["1.dat"][:-1])
    (tmp_path / "tiny" / "README").unlink()
    assert fetch(tiny, tmp_path) == ["1.dat", "README"]
    assert server.asked == ["1.dat", "README"]
    assert content_of(tmp_path / "tiny") == CONTENT


def test_a_mirror_is_asked_in_place_of_the_publisher(tiny: Database, server: Server, tmp_path: Path, nobody: str) -> None:
    elsewhere = replace(tiny, address=nobody)
    assert fetch(elsewhere, tmp_path, server.address.rstrip("/")) == list(CONTENT)


def test_files_in_folders_are_fetched_into_folders_by_the_publishers_list(server: Server, tmp_path: Path) -> None:
    content = {
        "data/1.hea": b"1 12 500 5000\n",
        "data/1.avr": b"\x00\x00",
        "data/1.dat": b"xy",
        "README": b"",
        "../up.hea": b"",
    }
    (server.folder / "data").mkdir()
    for name in ("data/1.hea", "data/1.avr", "data/1.dat"):
        (server.folder / name).write_bytes(content[name])
    sums = [f"{hashlib.sha256(each).hexdigest()} {name}" for name, each in content.items()]
    (server.folder / LIST).write_text("\n".join(sums) + "\n")
    which = replace(DATABASES["ludb"], name="tiny", address=server.address)
    assert fetch(which, tmp_path) == ["data/1.hea", "data/1.avr", "data/1.dat"]
    assert records_present(which, tmp_path / "tiny") == (("1",), ())
    (tmp_path / "tiny" / "data" / "1.avr").write_bytes(b"other")
    assert {check.name: check.state for check in verify(which, tmp_path / "tiny")}["data/1.avr"] == "wrong checksum"
    assert fetch(which, tmp_path) == ["data/1.avr"]


def test_a_file_that_is_not_the_publishers_is_refused_and_not_kept(tiny: Database, server: Server, tmp_path: Path) -> None:
    (server.folder / "1.dat").write_bytes(b"<html>please log in</html>")
    with pytest.raises(EcglensError, match=r"1\.dat is not the file that its publisher lists \(SHA-256 differs\)") as caught:
        fetch(tiny, tmp_path / "data")
    assert "\n" not in str(caught.value)
    assert content_of(tmp_path / "data" / "tiny") == {"1.hea": CONTENT["1.hea"]}


def test_a_file_that_the_server_lacks_is_one_line_and_what_came_before_stays(
    tiny: Database, server: Server, tmp_path: Path
) -> None:
    (server.folder / "1.atr").unlink()
    with pytest.raises(EcglensError, match=r"1\.atr cannot be reached") as caught:
        fetch(tiny, tmp_path)
    assert "\n" not in str(caught.value)
    assert set(content_of(tmp_path / "tiny")) == {"1.hea", "1.dat"}
    (server.folder / "1.atr").write_bytes(CONTENT["1.atr"])
    assert fetch(tiny, tmp_path) == ["1.atr", "README"]


def test_an_address_where_nobody_answers_is_one_line(tiny: Database, tmp_path: Path, nobody: str) -> None:
    with pytest.raises(EcglensError, match="cannot be reached") as caught:
        fetch(tiny, tmp_path / "data", nobody)
    assert "\n" not in str(caught.value)
    assert content_of(tmp_path / "data" / "tiny") == {}


@pytest.mark.parametrize("address", ["physionet.org/files", "ftp2://x", "http://", "C:\\mirror"])
def test_an_address_that_is_none_is_one_line(tiny: Database, tmp_path: Path, address: str) -> None:
    with pytest.raises(EcglensError, match="cannot be reached") as caught:
        fetch(tiny, tmp_path / "data", address)
    assert "\n" not in str(caught.value)


def test_a_connection_that_breaks_leaves_no_half_file(
    tiny: Database, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(self: SimpleHTTPRequestHandler, source, target) -> None:
        target.write(source.read(5))
        self.close_connection = True

    monkeypatch.setattr(SimpleHTTPRequestHandler, "copyfile", half)
    with pytest.raises(EcglensError, match=r"1\.hea"):
        fetch(tiny, tmp_path)
    assert content_of(tmp_path / "tiny") == {}


def test_a_full_disk_is_one_line_and_leaves_no_half_file(tiny: Database, tmp_path: Path, full_disk) -> None:
    with full_disk(10_000), pytest.raises(EcglensError, match=r"1\.dat cannot be written \(File too large\)") as caught:
        fetch(tiny, tmp_path)
    assert "\n" not in str(caught.value)
    assert set(content_of(tmp_path / "tiny")) == {"1.hea"}


def test_verify_gives_the_state_of_every_file(tiny: Database, tmp_path: Path) -> None:
    fetch(tiny, tmp_path)
    assert [(check.name, check.state) for check in verify(tiny, tmp_path / "tiny")] == [(name, "ok") for name in CONTENT]
    (tmp_path / "tiny" / "1.hea").unlink()
    (tmp_path / "tiny" / "1.atr").write_bytes(b"\x00\x01")
    states = {check.name: check.state for check in verify(tiny, tmp_path / "tiny")}
    assert states == {"1.hea": "missing", "1.dat": "ok", "1.atr": "wrong checksum", "README": "ok"}


def test_the_real_mitdb_passes_verify(real_mitdb: Path) -> None:
    assert {check.state for check in verify(DATABASES["mitdb"], real_mitdb)} == {"ok"}


def test_a_folder_named_by_the_user_comes_before_the_environment_and_the_cache(
    tiny: Database, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("user", "environment", "cache"):
        (tmp_path / name / "tiny").mkdir(parents=True)
    monkeypatch.setenv("ECGLENS_DATA", str(tmp_path / "environment"))
    monkeypatch.setattr(places, "cache_folder", lambda: tmp_path / "cache")
    assert find_database(tiny, tmp_path / "user") == tmp_path / "user" / "tiny"
    assert find_database(tiny, None) == tmp_path / "environment" / "tiny"
    assert server.asked == []
    monkeypatch.delenv("ECGLENS_DATA")
    assert find_database(tiny, None) == tmp_path / "cache" / "tiny"
    assert content_of(tmp_path / "cache" / "tiny") == CONTENT


def test_a_cache_that_is_whole_is_used_without_asking_anybody(
    tiny: Database, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ECGLENS_DATA", raising=False)
    monkeypatch.setattr(places, "cache_folder", lambda: tmp_path / "cache")
    fetch(tiny, tmp_path / "cache")
    server.asked.clear()
    assert find_database(tiny, None) == tmp_path / "cache" / "tiny"
    assert server.asked == []


def test_without_data_and_without_a_connection_one_line_says_what_to_do(
    tiny: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nobody: str
) -> None:
    monkeypatch.delenv("ECGLENS_DATA", raising=False)
    monkeypatch.setattr(places, "cache_folder", lambda: tmp_path / "cache")
    with pytest.raises(
        EcglensError, match=r"no Tiny Database here.*ecglens data fetch tiny.*--data DIR or ECGLENS_DATA"
    ) as caught:
        find_database(replace(tiny, address=nobody), None)
    assert "\n" not in str(caught.value)


def test_a_folder_without_the_database_is_named_with_who_named_it(
    tiny: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EcglensError, match=r"--data: there is no folder .*nowhere"):
        find_database(tiny, tmp_path / "nowhere")
    with pytest.raises(EcglensError, match=r"--data: .* holds no folder tiny/"):
        find_database(tiny, tmp_path)
    monkeypatch.setenv("ECGLENS_DATA", str(tmp_path))
    with pytest.raises(EcglensError, match=r"\$ECGLENS_DATA: .* holds no folder tiny/"):
        find_database(tiny, None)


def test_records_are_there_or_missing_by_their_headers(tmp_path: Path) -> None:
    which = DATABASES["mitdb"]
    for name in ("234.hea", "100.hea", "999.hea", "101.dat"):
        (tmp_path / name).touch()
    there, missing = records_present(which, tmp_path)
    assert there == ("100", "234")
    assert sorted(there + missing) == list(which.records)
    with pytest.raises(EcglensError, match=r"holds no record of mitdb; expected files such as 100\.hea"):
        records_present(which, tmp_path.parent)


# ------------------------------------------------------------------------------------------------ without a list of our own

# what a publisher's list names besides, in the two ways of writing that sha256sum has
BESIDES = {"1.qrs": b"auto", "old/1.hea": b"old", "README": b"", "../1.hea": b"outside", "1.hea.bak": b"x"}
READ = {name: content for name, content in CONTENT.items() if name != "README"}


@pytest.fixture
def listless(tiny: Database, server: Server, monkeypatch: pytest.MonkeyPatch) -> Database:
    """The same database where ecglens has no list: the server has it."""
    monkeypatch.setattr(databases, "_checksums", lambda name: {})
    rows = [f"{hashlib.sha256(content).hexdigest()} {name}" for name, content in (READ | BESIDES).items()]
    rows[1] = rows[1].replace(" ", " *")
    rows[2] = rows[2].replace(" ", "  ")
    (server.folder / LIST).write_text("\n".join(rows) + "\n")
    which = replace(tiny, n_records=1)
    monkeypatch.setitem(DATABASES, "tiny", which)
    return which


def test_the_publishers_list_is_fetched_first_kept_and_gone_by(listless: Database, server: Server, tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert fetch(listless, data) == list(READ)
    assert server.asked == [LIST, *READ]
    assert content_of(data / "tiny") == READ | {LIST: (server.folder / LIST).read_bytes()}
    assert not (data / "1.hea").exists()
    server.asked.clear()
    assert fetch(listless, data) == []
    assert server.asked == []
    (data / "tiny" / "1.dat").write_bytes(b"half")
    assert fetch(listless, data) == ["1.dat"]
    assert server.asked == ["1.dat"]


def test_a_file_that_is_not_on_the_publishers_list_as_it_is_is_refused(
    listless: Database, server: Server, tmp_path: Path
) -> None:
    (server.folder / "1.dat").write_bytes(b"other")
    with pytest.raises(EcglensError, match=r"1\.dat is not the file that its publisher lists"):
        fetch(listless, tmp_path)


@pytest.mark.parametrize(
    "answer",
    ["<html>please log in</html>", "", "0" * 63 + " 1.hea\n", "0" * 64 + " README\n", "z" * 64 + " 1.hea\n"],
    ids=["page", "empty", "short digest", "no record", "no digest"],
)
def test_an_answer_that_is_no_list_is_refused_and_not_kept(
    listless: Database, server: Server, tmp_path: Path, answer: str
) -> None:
    (server.folder / LIST).write_text(answer)
    with pytest.raises(EcglensError, match=r"SHA256SUMS\.txt is not a list of SHA-256; try again") as caught:
        fetch(listless, tmp_path / "data")
    assert "\n" not in str(caught.value)
    assert content_of(tmp_path / "data" / "tiny") == {}


def test_a_list_that_breaks_off_is_not_kept(
    listless: Database, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def part(self: SimpleHTTPRequestHandler, source, target) -> None:
        target.write(source.read(75))
        self.close_connection = True

    monkeypatch.setattr(SimpleHTTPRequestHandler, "copyfile", part)
    with pytest.raises(EcglensError, match="SHA256SUMS"):
        fetch(listless, tmp_path / "data")
    assert content_of(tmp_path / "data" / "tiny") == {}


def test_verify_goes_by_the_list_in_the_folder(listless: Database, server: Server, tmp_path: Path) -> None:
    fetch(listless, tmp_path)
    (tmp_path / "tiny" / "1.hea").unlink()
    (tmp_path / "tiny" / "1.atr").write_bytes(b"\x00\x01")
    states = {check.name: check.state for check in verify(listless, tmp_path / "tiny")}
    assert states == {"1.hea": "missing", "1.dat": "ok", "1.atr": "wrong checksum"}


def test_verify_without_any_list_says_that_there_is_nothing_to_compare_with(
    listless: Database, tmp_path: Path, ecglens
) -> None:
    fetch(listless, tmp_path)
    (tmp_path / "tiny" / LIST).unlink()
    said = ecglens("data", "verify", "tiny", "--data", tmp_path).complaint
    assert "holds 1 records of tiny and no SHA256SUMS.txt: there is nothing to compare them with" in said
    assert said.endswith(f"'ecglens data fetch tiny --data {tmp_path}' gets the list")


def test_a_damaged_list_in_the_folder_is_named_by_its_line(listless: Database, tmp_path: Path, ecglens) -> None:
    fetch(listless, tmp_path)
    path = tmp_path / "tiny" / LIST
    path.write_text(path.read_text() + "\n\nsomething else\n")
    n_lines = len(path.read_text().splitlines())
    for command in ("verify", "fetch"):
        said = ecglens("data", command, "tiny", "--data", tmp_path).complaint
        assert f"line {n_lines} of {path} is not a SHA-256 and a file name; delete it" in said


def test_records_are_those_of_the_list_in_the_folder_or_else_the_headers_that_are_there(
    listless: Database, tmp_path: Path
) -> None:
    with pytest.raises(EcglensError, match=r"holds no record of tiny; expected files such as NAME\.hea"):
        records_present(listless, tmp_path)
    for name in ("14149.hea", "14046.hea", "14134.dat"):
        (tmp_path / name).touch()
    assert records_present(listless, tmp_path) == (("14046", "14149"), ())
    rows = [f"{'0' * 64} {name}.hea" for name in ("14157", "14149", "14046")]
    (tmp_path / LIST).write_text("\n".join(rows))
    assert records_present(listless, tmp_path) == (("14046", "14149"), ("14157",))


def test_a_cache_without_a_list_is_fetched_and_with_one_it_is_whole(
    listless: Database, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ECGLENS_DATA", raising=False)
    monkeypatch.setattr(places, "cache_folder", lambda: tmp_path / "cache")
    assert find_database(listless, None) == tmp_path / "cache" / "tiny"
    assert server.asked == [LIST, *READ]
    server.asked.clear()
    assert find_database(listless, None) == tmp_path / "cache" / "tiny"
    assert server.asked == []


def test_the_command_line_counts_by_the_publishers_list(listless: Database, tmp_path: Path, ecglens) -> None:
    assert "3 files fetched, 0 were right already" in ecglens("data", "fetch", "tiny", "--data", tmp_path).out
    (tmp_path / "tiny" / "1.atr").unlink()
    assert "1 files fetched, 2 were right already" in ecglens("data", "fetch", "tiny", "--data", tmp_path).out
    assert "3 of 3 files are right" in ecglens("data", "verify", "tiny", "--data", tmp_path).out
    assert "Tiny Database 1.0.0: 1 records" in ecglens("data", "list").out


def test_the_real_list_of_mitdb_is_read_as_the_package_has_it(real_mitdb: Path) -> None:
    which = replace(DATABASES["mitdb"], name="nobody's")
    assert which.checksums == {}
    packaged, found = dict(DATABASES["mitdb"].checksums), checksums_in(which, real_mitdb)
    # RECORDS is not read; 102-0.atr is an old version of the marks of 102
    assert packaged.pop("RECORDS")
    assert found.pop("102-0.atr")
    assert found == packaged


# ------------------------------------------------------------------------------------------------ the command line


def test_the_command_line_fetches_and_then_finds_all_right(tiny: Database, server: Server, tmp_path: Path, ecglens) -> None:
    done = ecglens("data", "fetch", "tiny", "--data", tmp_path)
    assert (done.code, done.err) == (0, "")
    assert done.out == f"{tmp_path / 'tiny'}: 4 files fetched, 0 were right already\n"
    assert "0 files fetched, 4 were right" in ecglens("data", "fetch", "tiny", "--data", tmp_path).out
    done = ecglens("data", "verify", "tiny", "--data", tmp_path)
    assert (done.code, done.err, done.out) == (0, "", f"{tmp_path / 'tiny'}: 4 of 4 files are right\n")


def test_the_command_line_takes_a_mirror(tiny: Database, server: Server, tmp_path: Path, ecglens, nobody: str) -> None:
    assert "cannot be reached" in ecglens("data", "fetch", "tiny", "--data", tmp_path, "--from", nobody).complaint
    assert ecglens("data", "fetch", "tiny", "--data", tmp_path, "--from", server.address).code == 0


def test_verify_on_the_command_line_names_each_bad_file_and_ends_with_two(
    tiny: Database, tmp_path: Path, ecglens, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch(tiny, tmp_path)
    (tmp_path / "tiny" / "1.hea").unlink()
    (tmp_path / "tiny" / "1.atr").write_bytes(b"\x00\x01")
    monkeypatch.setenv("ECGLENS_DATA", str(tmp_path))
    done = ecglens("data", "verify", "tiny")
    assert "2 files are bad" in done.complaint
    assert done.out.splitlines() == ["1.hea: missing", "1.atr: wrong checksum", f"{tmp_path / 'tiny'}: 2 of 4 files are right"]


def test_verify_of_a_folder_that_is_not_there_is_one_line(tiny: Database, tmp_path: Path, ecglens) -> None:
    assert "holds no folder tiny/" in ecglens("data", "verify", "tiny", "--data", tmp_path).complaint
    assert "holds no folder tiny/" in ecglens("data", "verify", "tiny", "--data", tmp_path / "nowhere").complaint


@pytest.mark.parametrize("command", ["fetch", "verify"])
def test_an_unknown_database_is_one_line(command: str, tmp_path: Path, ecglens) -> None:
    assert "unknown database 'mitbd'; did you mean 'mitdb'?" in ecglens("data", command, "mitbd", "--data", tmp_path).complaint


def test_list_says_what_a_database_is_and_what_it_may_be_used_for(ecglens) -> None:
    done = ecglens("data", "list")
    assert (done.code, done.err) == (0, "")
    for fact in (
        "mitdb",
        "48 records",
        "2 leads",
        "360 Hz",
        "Open Data Commons",
        "https://physionet.org/",
        "201 and 202 are one person",
        "ltafdb",
        "84 records, 2 leads, 128 Hz",
        "ltdb",
        "7 records, 2 leads, 128 Hz",
    ):
        assert fact in done.out
