"""The steps of a work's life, in order, for an archiver and for Holdfast; what comes back is compared each time.

Figures are {step: cost}, of these steps:
  first     everything is captured for the first time; `versions` in works of many versions: one after the other
  rescan    captured again, nothing has changed
  changed   captured again after 1 % changed; `changed_again` once more
  restore   everything is gone and brought back
  one_file  one file as it was in the middle (after the first change; the middle version)
and `stored`, `beside`: bytes as [in files, on disk]. A cost with `done` and `of` was scaled from a sample.
"""
import os
import shutil
import statistics
import subprocess
import time

import holdfast
import measuring


# How much of a work with many parts a slow subject has to do before it is scaled, and once it took three times as
# long as patience lasts, a fifth of that.
VERSIONS_OF = 5  # 200 of 1,000 versions
FIRST_HOSTS_OF = 10
OTHER_HOSTS_OF = 25
HURRY, HURRIED_PART = 3, 5


class Sample:
    """A part of many equal things, when all of them would take too long."""

    def __init__(self, of, one_in, seconds):
        self.of = of
        self.minimum = max(2, of // one_in)
        self.seconds = seconds

    def _enough(self, done, spent):
        return (done >= self.minimum and spent > self.seconds or
                done >= max(2, self.minimum // HURRIED_PART) and spent > self.seconds * HURRY)

    def repeat(self, todo, action, note=None):
        """action(item) -> cost, over all of todo or until it is enough. `note` is called after the first, the
        second, the fourth and so on."""
        os.sync()  # what others wrote is not this one's burden
        costs, spent = [], 0.0
        for item in todo:
            costs.append(action(item))
            spent += costs[-1]["wall_s"]
            if note and len(costs).bit_count() == 1:
                note()
            if self._enough(len(costs), spent):
                break
        done = len(costs)
        cost = measuring.scaled(measuring.together(costs), self.of / done)
        return cost | ({"done": done, "of": self.of} if done < self.of else {})


def _once(action):
    os.sync()
    return action()


class ArchiverRun:
    def __init__(self, work, kind, directory, patience_s):
        self.work, self.patience_s = work, patience_s
        self.directory = directory / "archiver"
        self.directory.mkdir()
        try:
            self.archiver = kind(self.directory)
        except BaseException:
            shutil.rmtree(self.directory, ignore_errors=True)
            raise
        self.known = list(work.places)  # series that all steps until now have done
        self.notes = []  # stored bytes on the way through the first step
        self.figures = {}

    def _note(self):
        self.archiver.tidy()
        self.notes.append({"done": sum(self.archiver.counts.values()), "stored": self.archiver.stored(),
                           "beside": self.archiver.beside()})

    def _stored(self, cost):
        """Tidied; where only a sample was stored, the later half of it says how it would go on."""
        self.figures["tidy"] = self.archiver.tidy()
        for name in ("stored", "beside"):
            now = getattr(self.archiver, name)()
            if "done" in cost:
                half = [note for note in self.notes if note["done"] <= cost["done"] / 2][-1]
                rate = (cost["of"] - cost["done"]) / (cost["done"] - half["done"])
                now = [round(end + (end - middle) * rate) for end, middle in zip(now, half[name])]
            self.figures[name] = list(now)

    def _over_places(self, one_in, action, note=None):
        cost = Sample(len(self.work.places), one_in, self.patience_s).repeat(self.known, action, note)
        self.known = self.known[:cost.get("done", len(self.known))]
        return cost

    def _capture(self, step, one_in, note=None):
        self.figures[step] = self._over_places(
            one_in, lambda series: self.archiver.capture(self.work.places[series], series), note)

    def _restore(self, series):
        return self.archiver.restore(self.work.places[series], series)

    def life(self):
        work, few = self.work, OTHER_HOSTS_OF
        self._capture("first", FIRST_HOSTS_OF, self._note)
        self._stored(self.figures["first"])
        self._capture("rescan", few)
        work.change(1)
        self._capture("changed", few)
        work.change(2)
        self._capture("changed_again", few)
        work.lose()
        self.figures["restore"] = self._over_places(few, self._restore)
        for series in self.known:
            measuring.compare_trees(work.expect(series), work.places[series], f"{self.archiver.name}, {series}")
        if self.archiver.one_file or work.count == 1:
            self._one_file(number=2, digest=work.watched_digest)

    def versions(self):
        work = self.work
        sample = Sample(work.versions, VERSIONS_OF, self.patience_s)
        self.figures["versions"] = sample.repeat(
            work.rewrite(), lambda _: self.archiver.capture(work.root, "data"), self._note)
        self._stored(self.figures["versions"])
        self.figures["rescan"] = _once(lambda: self.archiver.capture(work.root, "data"))
        work.lose()
        self.figures["restore"] = _once(lambda: self._restore("data"))
        measuring.compare_trees(work.expect("data"), work.root, self.archiver.name)
        middle = len(work.digests) // 2
        self._one_file(number=middle, digest=work.digests[middle])

    def _one_file(self, number, digest):
        series, relative = self.work.watched
        target = self.directory / "one"
        if self.archiver.one_file:
            cost, path = _once(lambda: self.archiver.restore_file(relative, target, series, number))
        else:
            cost, path = _once(lambda: self.archiver.restore(target, series, number)), target / relative
        measuring.compare_file(digest, path, f"{self.archiver.name}, snapshot {number}")
        self.figures["one_file"] = cost

    def close(self):
        self.archiver.close()
        shutil.rmtree(self.directory, ignore_errors=True)


def _compare_all(work):
    """All that a file is, owners, times and attributes included, by a tool that isn't ours."""
    if not shutil.which("rsync"):
        return
    one = next(iter(work.places)) if len(work.places) == 1 else ""
    result = subprocess.run(["rsync", "-aHAXn", "--delete", "--itemize-changes", f"{work.lost / one}/",
                             f"{work.root}/"], check=True, capture_output=True, text=True)
    lines = result.stdout.splitlines()
    if not one:  # the directory that holds them all is nobody's
        lines = [line for line in lines if not line.endswith(" ./")]
    if lines:
        raise measuring.Failed(f"holdfast: what was restored differs from what was lost: {lines[:5]}")


class HoldfastRun:
    def __init__(self, work, agents, idle_seconds):
        self.work, self.idle_seconds = work, idle_seconds
        self.subject = holdfast.Holdfast(work, agents)
        self.figures = {}

    def _capture(self, step):
        self.subject.pause()
        self.figures[step] = _once(self.subject.capture)

    def _stored(self):
        self.figures["stored"] = list(self.subject.stored())
        self.figures["beside"] = list(self.subject.beside())

    def _change(self, turn):
        self.subject.pause()
        self.work.change(turn)

    def _restore(self, moment):
        work = self.work
        work.lose()
        os.sync()
        self.figures["restore"] = self.subject.restore(moment)
        for series, place in work.places.items():
            measuring.compare_trees(work.expect(series), place, f"holdfast, {series}")
        _compare_all(work)

    def _one_file(self, moment, digest):
        cost, path = _once(lambda: self.subject.restore_file(*self.work.watched, moment))
        measuring.compare_file(digest, path, f"holdfast at {moment}")
        self.figures["one_file"] = cost

    def life(self):
        self._capture("first")
        self._stored()
        self._capture("rescan")
        self._change(1)
        self._capture("changed")
        middle = self.subject.moment()
        time.sleep(0.01)
        self._change(2)
        self._capture("changed_again")
        moment = self.subject.moment()
        time.sleep(0.01)
        self._restore(moment)
        self._one_file(middle, self.work.watched_digest)

    def versions(self):
        self.figures["versions"], self.figures["latency"], middle = _once(self.subject.rewrites)
        self._stored()
        self._capture("rescan")
        moment = self.subject.moment()
        time.sleep(0.01)
        self._restore(moment)
        self._one_file(middle, self.work.digests[len(self.work.digests) // 2])
        if self.idle_seconds:
            self.figures["idle"] = self.subject.idle(self.idle_seconds)

    def close(self):
        self.subject.close()


def run(work, make):
    """All steps of one subject; leaves the work as it was. Figures with `failed` end where that happened."""
    figures, subject = {}, None
    try:
        subject = make()
        figures = subject.figures
        if work.small:
            subject.versions()
        else:
            subject.life()
    except (measuring.Failed, holdfast.harness.Failed) as error:
        figures["failed"] = str(error)
    finally:
        try:
            if subject:
                subject.close()
        except holdfast.harness.Failed as error:
            figures.setdefault("failed", str(error))
        finally:
            work.find_again()
            work.reset()
    return figures


def median_of(runs):
    """The figures of several runs as one: medians, leaf by leaf. One that failed is not hidden by others."""
    for run_figures in runs:
        if isinstance(run_figures, dict) and "failed" in run_figures:
            return run_figures
    if isinstance(runs[0], dict):
        return {key: median_of([its[key] for its in runs if key in its]) for key in runs[0]}
    if isinstance(runs[0], list):
        return [statistics.median(values) for values in zip(*runs)]
    return statistics.median(runs)
