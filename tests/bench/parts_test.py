"""The parts of `peers` that decide what its tables say: the data, the comparing, the scaling, the aims."""
import hashlib
import json
import os

import pytest

import aims
import checkpoints
import generators
import machine
import measuring
import steps
import table
import works


def digest_of(texts):
    return [hashlib.sha256(text).hexdigest() for text in texts]


def test_a_seed_gives_the_same_checkpoints_each_time_and_another_seed_others():
    first = digest_of(checkpoints.versions(4096, seed=1, count=50))
    assert first == digest_of(checkpoints.versions(4096, seed=1, count=50))
    assert len(set(first)) == 50
    assert set(first).isdisjoint(digest_of(checkpoints.versions(4096, seed=2, count=50)))


def test_a_checkpoint_is_what_json_prints_and_stays_near_its_size():
    checkpoint = checkpoints.Checkpoint(20_000, seed=1)
    jobs = set()
    for _ in range(300):
        checkpoint.step()
        assert checkpoint.text() == json.dumps(checkpoint.state, indent=2).encode()
        assert 15_000 < len(checkpoint.text()) < 30_000
        jobs.add(len(checkpoint.state["current_jobs"]))
    assert len(jobs) > 1, "the list neither grows nor shrinks"


@pytest.mark.parametrize("make", [generators.mixed_file, generators.log_file])
def test_a_generated_file_has_its_size_and_is_the_same_each_time(make, tmp_path):
    for name in ("a", "b"):
        make(tmp_path / name, 3_000_001, seed=7)
    make(tmp_path / "c", 3_000_001, seed=8)
    assert (tmp_path / "a").stat().st_size == 3_000_001
    a, b, c = (measuring.digest_of_file(tmp_path / name) for name in "abc")
    assert a == b != c


def test_of_200_files_of_a_host_four_are_unlike_those_of_the_others(tmp_path):
    generators.host_trees(tmp_path, 3, seed=1)
    digests = [measuring.digest_of_tree(tmp_path / f"host-000{number}") for number in range(3)]
    files = [path for path, entry in digests[0].items() if entry[0] == "file"]
    assert len(files) == 200
    common = [path for path in files if digests[0][path] == digests[1][path] == digests[2][path]]
    assert 200 - 12 <= len(common) < 200


@pytest.mark.parametrize("kind", [works.Mixed, works.Log, works.Hosts])
def test_a_work_is_changed_differently_each_time_and_put_back(kind, tmp_path):
    work = kind(tmp_path, 0.0005)
    states = [measuring.digest_of_tree(work.root)]
    times = {path: os.stat(path).st_mtime_ns for path in work.root.rglob("*") if path.is_file()}
    for turn in (1, 2):
        work.change(turn)
        states.append(measuring.digest_of_tree(work.root))
    assert states[0] != states[1] != states[2]
    series, relative = work.watched
    assert work.watched_digest != measuring.digest_of_file(work.places[series] / relative)
    work.lose()
    work.find_again()
    work.reset()
    assert measuring.digest_of_tree(work.root) == states[0]
    assert times == {path: os.stat(path).st_mtime_ns for path in times}


def test_a_tree_that_came_back_with_one_byte_changed_is_noticed(tmp_path):
    for name in ("was", "is"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep/file").write_text("content")
    expected = measuring.digest_of_tree(tmp_path / "was")
    measuring.compare_trees(expected, tmp_path / "is", "x")
    (tmp_path / "is/deep/file").write_text("contend")
    with pytest.raises(measuring.Failed, match="1 of 2 paths are not as they were, such as deep/file"):
        measuring.compare_trees(expected, tmp_path / "is", "x")


def test_what_a_command_costs_counts_its_children_and_a_failing_one_fails():
    burn = "import os, time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    cost = measuring.run(["sh", "-c", f"python3 -c '{burn}'; true"])
    assert cost["cpu_s"] >= 0.3 and cost["wall_s"] > 0 and cost["peak_bytes"] > 0
    with pytest.raises(measuring.Failed, match="ended with 3:\nbecause"):
        measuring.run(["sh", "-c", "echo because >&2; exit 3"])


def test_a_file_with_two_names_is_stored_once(tmp_path):
    (tmp_path / "a").write_bytes(bytes(1000))
    os.link(tmp_path / "a", tmp_path / "b")
    assert measuring.size_of(tmp_path)[0] == 1000


def test_a_step_that_takes_too_long_is_scaled_from_a_sample_and_says_so():
    cost = {"wall_s": 0.5, "cpu_s": 0.25, "peak_bytes": 7}
    done = steps.Sample(1000, 5, seconds=60).repeat(range(1000), lambda _: cost)
    assert done == {"wall_s": 500.0, "cpu_s": 250.0, "peak_bytes": 7, "done": 200, "of": 1000}
    done = steps.Sample(1000, 5, seconds=20).repeat(range(1000), lambda _: cost)
    assert done["done"] == 121 and done["wall_s"] == pytest.approx(500.0)
    done = steps.Sample(1000, 5, seconds=2000).repeat(range(1000), lambda _: cost)
    assert done == {"wall_s": 500.0, "cpu_s": 250.0, "peak_bytes": 7}


def test_a_run_that_failed_is_not_hidden_by_the_median_of_others():
    good, better, worse = ({"rescan": {"wall_s": wall}} for wall in (2.0, 1.0, 3.0))
    bad = {"failed": "it did"}
    assert steps.median_of([worse, good, better]) == good
    assert steps.median_of([good, bad, good]) == bad


def subjects():
    cost = (lambda wall: {"wall_s": wall, "cpu_s": wall, "peak_bytes": 1_000_000})
    life = (lambda wall, stored: {step: cost(wall) for step in ("first", "rescan", "changed", "restore", "one_file")} |
            {"stored": [stored, stored], "beside": [0, 0]})
    return {"restic": life(10.0, 300), "borg": life(5.0, 200), "holdfast": life(4.0, 250)}


def test_aims_are_held_against_restic_and_the_best_peer():
    found = {aim["aim"]: aim for aim in aims.aims_of("tree", subjects())}
    assert found["first capture, wall"]["is"] == pytest.approx(0.4) and aims.reached(found["first capture, wall"])
    assert found["unchanged rescan, wall"]["is"] == pytest.approx(0.4)
    assert aims.verdict(found["unchanged rescan, wall"]) == "missed by 0.2 (2.00 times the aim)"
    assert found["stored bytes"]["is"] == pytest.approx(1.25) and "borg's" in found["stored bytes"]["unit"]


def test_an_aim_without_anything_to_compare_with_is_not_reached():
    alone = {"holdfast": subjects()["holdfast"]}
    assert not any(map(aims.reached, aims.aims_of("tree", alone)))


def test_the_table_has_a_column_a_subject_and_names_who_failed():
    measured = subjects() | {"bup": {"failed": "no such thing"}}
    floor = machine.floor({"zstd": {1: {"compress": 1e8, "decompress": 1e9}}, "aes_256_gcm": 1e9, "sha256": 1e9,
                           "cores": 2}, content_bytes=1e9, wire_bytes=1e8)
    text = table.of_work("tree", {"what": "trees", "notes": [], "floor": floor, "subjects": measured,
                                  "aims": aims.aims_of("tree", measured)}, [])
    lines = text.splitlines()
    assert lines[1].split() == ["restic", "borg", "holdfast", "bup", "agent", "collector", "floor", "/restic", "/best"]
    assert "first capture          wall s         10.0      5.00      4.00" in lines[2]
    assert lines[2].split()[-3:] == ["5.65", "0.40", "0.80"]  # (1 + 10 + 0.3) s on two cores
    assert "  bup FAILED: no such thing" in lines
