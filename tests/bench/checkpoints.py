"""Versions of a robot's checkpoint, as CasareRPA writes it: JSON, rewritten in place each time.

The same size and seed give the same bytes on every machine. From one version to the next: the heartbeat, the
counters and the id of the checkpoint move; a few of the jobs under way come to their next node, with new values in
their variables. About every twentieth version a job ends or another begins, so that the list shrinks or grows.
"""
import json
import random
import uuid

NODES = ("ReadExcelRange", "FilterRows", "OpenBrowser", "FillForm", "ClickElement", "ExtractTable", "SendEmail",
         "WaitForElement", "HttpRequest", "ParseJson", "AppendRow", "SaveWorkbook", "Condition", "ForEachRow")
WORKFLOWS = ("Invoice intake", "Supplier master data", "Bank statement reconciliation", "Order confirmation",
             "Customs declaration", "Payroll export", "Ticket triage", "Price list update")
VERSION_SECONDS = 5  # between two checkpoints
BEGAN = 1_760_000_000  # some day, always the same


def moment(seconds):
    """ISO 8601 with microseconds, as datetime.isoformat() prints it."""
    whole = int(seconds)
    days, rest = divmod(whole - 1_759_276_800, 86_400)  # since 2025-10-01
    return (f"2025-10-{1 + days:02}T{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
            f".{int((seconds - whole) * 1e6):06}+00:00")


class Checkpoint:
    """`text()` is the state now, `step()` moves on by one version."""

    def __init__(self, size, seed):
        self.random = random.Random(seed)
        self.now = float(BEGAN)
        self.workflows = [(self._uuid(), name) for name in WORKFLOWS]
        self.state = {
            "checkpoint_id": self._uuid(),
            "robot_id": f"robot-{self.random.randrange(1000):03}",
            "state": "running",
            "current_jobs": [],
            "created_at": moment(self.now),
            "last_heartbeat": moment(self.now),
            "stats": {"jobs_completed": 1481, "jobs_failed": 12, "nodes_executed": 90_211, "uptime_seconds": 412_033,
                      "cpu_percent": 12.5, "memory_mb": 412.3, "queue_depth": 3, "reconnects": 2},
        }
        self.job_texts = {}  # encoding all jobs anew for each version would take most of a benchmark's time
        while len(self.text()) < size:
            self.state["current_jobs"].append(self._job())
        self.usual_jobs = len(self.state["current_jobs"])

    def _uuid(self):
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def _variables(self):
        pick = self.random
        return {"row": pick.randrange(5000), "customer": f"C{pick.randrange(10**6):06}",
                "amount": round(pick.random() * 9000, 2), "currency": pick.choice(("EUR", "USD", "CHF")),
                "last_selector": f"#form-{pick.randrange(40)} > input[name='field_{pick.randrange(90)}']"}

    def _job(self):
        pick = self.random
        workflow_id, name = pick.choice(self.workflows)
        return {"job_id": self._uuid(), "workflow_id": workflow_id, "workflow_name": name, "status": "running",
                "priority": pick.randrange(1, 4), "started_at": moment(self.now), "updated_at": moment(self.now),
                "current_node": f"{pick.choice(NODES)}_{pick.randrange(60)}", "progress": 0, "retry_count": 0,
                "executed_nodes": [f"{pick.choice(NODES)}_{pick.randrange(60)}" for _ in range(pick.randrange(3, 8))],
                "variables": self._variables()}

    def _advance(self, job):
        pick = self.random
        self.job_texts.pop(job["job_id"], None)
        job["executed_nodes"] = (job["executed_nodes"] + [job["current_node"]])[-8:]
        job["current_node"] = f"{pick.choice(NODES)}_{pick.randrange(60)}"
        job["progress"] = min(99, job["progress"] + pick.randrange(1, 4))
        job["updated_at"] = moment(self.now)
        fresh = self._variables()
        for key in pick.sample(sorted(fresh), 2):
            job["variables"][key] = fresh[key]

    def step(self):
        pick, state, jobs = self.random, self.state, self.state["current_jobs"]
        self.now += VERSION_SECONDS + pick.random() / 50
        state["checkpoint_id"] = self._uuid()
        state["last_heartbeat"] = moment(self.now)
        for job in pick.sample(jobs, min(len(jobs), pick.randrange(1, 4))):
            self._advance(job)
        stats = state["stats"]
        stats["nodes_executed"] += pick.randrange(1, 9)
        stats["uptime_seconds"] += VERSION_SECONDS
        stats["cpu_percent"] = round(pick.uniform(2, 60), 1)
        stats["memory_mb"] = round(stats["memory_mb"] + pick.uniform(-4, 4), 1)
        if pick.randrange(20) == 0:
            if len(jobs) + pick.choice((0, 1)) > self.usual_jobs:
                self.job_texts.pop(jobs.pop(pick.randrange(len(jobs)))["job_id"], None)
                stats["jobs_completed"] += 1
            else:
                jobs.append(self._job())
        stats["queue_depth"] = max(0, stats["queue_depth"] + pick.randrange(-1, 2))

    def _job_text(self, job):
        text = self.job_texts.get(job["job_id"], None)
        if text is None:
            text = json.dumps(job, indent=2).replace("\n", "\n    ")
            self.job_texts[job["job_id"]] = text
        return text

    def text(self):
        """What json.dumps(self.state, indent=2) gives."""
        whole = json.dumps(self.state | {"current_jobs": []}, indent=2)
        jobs = ",\n".join("    " + self._job_text(job) for job in self.state["current_jobs"])
        return whole.replace('"current_jobs": []', f'"current_jobs": [\n{jobs}\n  ]').encode()


def versions(size, seed, count):
    """The bytes of `count` versions, one after the other."""
    checkpoint = Checkpoint(size, seed)
    for number in range(count):
        if number:
            checkpoint.step()
        yield checkpoint.text()
