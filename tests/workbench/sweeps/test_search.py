"""A search proposes each trial once, even if processes are killed, and prunes hopeless ones."""

import json
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

from extras import needs
from script_server import python, start
from toy import PROJECT
from workbench.errors import ConfigError
from workbench.jobs import hydra_adapter as adapter
from workbench.jobs.command_line import read_command_line
from workbench.jobs.launch import read_launch
from workbench.jobs.options import Parser
from workbench.jobs.search import distribution_of
from workbench.meaning import Meaning
from workbench.runs.curves import read_curves
from workbench.runs.folder import CLAIM_TIMEOUT, RunFolder
from workbench.sweeps import study as studies
from workbench.sweeps.job import run_job
from workbench.sweeps.report import report
from workbench.sweeps.search import LOCKS, SEARCHER, _show_end, search_all
from workbench.sweeps.study import RunningTrial, open_study
from workbench.training.launch import Trial

LR = "optimizer.lr=tag(log,interval(1e-4,0.5))"
QUICK = ("trainer.max_epochs=1", "test=false", "logger.tensorboard=null", "callbacks.progress=null")
MEDIAN = (
    "hydra.sweeper.pruner._target_=optuna.pruners.MedianPruner",
    "hydra.sweeper.pruner.n_startup_trials=1",
)


@pytest.fixture(autouse=True)
def _new_studies():
    studies._storage.cache_clear()


@pytest.fixture
def command_of(tmp_path):
    """Overrides → the checked command line of a search."""

    def read(*overrides, logs="logs"):
        mine = ("-m", "hydra/sweeper=search", "sweep=mine", f"log_dir={tmp_path}/{logs}")
        return read_command_line("train", [*mine, *overrides])

    return read


@pytest.fixture
def search(command_of):
    """Run a search in this process: overrides → the number of failed trials."""

    def run_it(*overrides, logs="logs"):
        def task(cfg):
            return run_job(read_launch(cfg))

        task.command = command = command_of(*QUICK, *overrides, logs=logs)
        with adapter.opened(PROJECT.configs, "train"):
            return adapter.start(command.options, command.config_name, task, Parser())

    return run_it


@pytest.fixture
def settings_of(tmp_path):
    """The settings of a search of this test, as its jobs get them."""

    def of(logs="logs", **more):
        place = f"{tmp_path}/{logs}/sweeps/mine/study.journal"
        sampler = {"_target_": "optuna.samplers.TPESampler", "seed": 0}
        known = {"sampler": sampler, "pruner": None, "direction": "minimize", "n_jobs": 1}
        return {**known, "storage": place, "study_name": "mine", "n_trials": 3, **more}

    return of


@pytest.fixture
def trials_of(settings_of):
    return lambda logs="logs": open_study(settings_of(logs)).trials


def runs_in(tmp_path, logs="logs"):
    paths = (tmp_path / logs / "sweeps" / "mine").glob("*/metrics.json")
    return {path.parent.name: json.loads(path.read_text()) for path in paths}


@needs("optuna")
@pytest.mark.parametrize(
    ("values", "found"),
    [
        ("int(interval(0,1))", "IntDistribution(high=1, log=False, low=0, step=1)"),
        ("interval(0.5,1)", "FloatDistribution(high=1.0, log=False, low=0.5, step=None)"),
        ("tag(log,int(interval(1,8)))", "IntDistribution(high=8, log=True, low=1, step=1)"),
        ("tag(log,interval(0.1,1))", "FloatDistribution(high=1.0, log=True, low=0.1, step=None)"),
        ("interval(1,2)", "FloatDistribution(high=2.0, log=False, low=1.0, step=None)"),
        ("range(1,4)", "IntDistribution(high=3, log=False, low=1, step=1)"),
        ("range(9,1,-3)", "IntDistribution(high=9, log=False, low=3, step=3)"),
        ("shuffle(range(0,1,0.25))", "FloatDistribution(high=0.75, log=False, low=0.0, step=0.25)"),
        ("0.5,a,true", "CategoricalDistribution(choices=(0.5, 'a', True))"),
        ("[1,2],null,'x y'", "CategoricalDistribution(choices=('[1,2]', 'null', \"'x y'\"))"),
        ("b,a,b", "CategoricalDistribution(choices=('b', 'a'))"),
    ],
)
def test_sweep_syntax_becomes_the_distributions_of_a_search(values, found):
    with adapter.opened(PROJECT.configs, "train"):
        assert str(distribution_of(adapter.parse_override(f"x={values}"))) == found


@needs("optuna")
@pytest.mark.parametrize(
    ("override", "fault"),
    [
        ("optimizer.lr=interval(-0.5,1)", "optimizer or scheduler: Invalid learning rate: -0.5"),
        ("optimizer.lr=interval(0.1,fast)", "optimizer.lr=interval(0.1,fast): "),
        ("data.count=choice(8,x)", "data.count='x': should be a whole number"),
        ("data.noise=interval(1,0)", "data.noise=interval(1,0): begins above its end"),
        ("data.noise=tag(log,interval(0,1))", "data.noise=tag(log,interval(0,1)): the tag log is"),
        ("data.noise=tag(lgo,interval(0,1))", "data.noise=tag(lgo,interval(0,1)): a search knows"),
        ("data.noise=range(1,1)", "data.noise=range(1,1): holds no value"),
        ("data.noise=0.1", "-m: a search has nothing to choose"),
        ("hydra.sweeper.n_trials=0", "hydra.sweeper.n_trials=0: should be 1 or more"),
        ("hydra.sweeper.direction=up", "hydra.sweeper.direction='up': should be 'minimize' or"),
        ("hydra.sweeper.storage=no://x", None),
        ("hydra.sweeper.sampler._target_=os.system", "hydra.sweeper.sampler._target_: os.system"),
        (
            f"{MEDIAN[0]}s",
            "hydra.sweeper.pruner._target_: there is no optuna.pruners.MedianPruners",
        ),
        (
            MEDIAN[0].replace("pruner.", "sampler."),
            "hydra.sweeper.sampler._target_: optuna.pruners",
        ),
        ("hydra.sweeper.sampler.sead=1", "hydra.sweeper.sampler.sead: optuna.samplers.TPESampler"),
        ("hydra.sweeper.sampler.n_startup_trials=x", "hydra.sweeper.sampler.n_startup_trials='x'"),
        ("hydra.sweeper._recursive_=true", "hydra.sweeper._recursive_=True: should be False"),
        ("hydra.sweeper.max_trials=1", "hydra.sweeper.max_trials: the config has no argument"),
    ],
)
def test_mistakes_in_a_search_are_reported_before_it_starts(override, fault, command_of):
    more = [] if override.startswith(("data.noise", "optimizer.lr")) else [LR]
    if fault is None:
        assert command_of(override, *more).search
        return
    with pytest.raises(ConfigError) as error:
        command_of(override, *more)
    assert str(error.value).splitlines()[0].startswith(fault)


@needs("optuna")
def test_a_pruner_with_bad_arguments_or_without_a_curve_is_refused(command_of):
    with pytest.raises(ConfigError, match=r"hydra.sweeper.pruner: .* negative"):
        command_of(LR, MEDIAN[0], "hydra.sweeper.pruner.n_startup_trials=-1")
    with pytest.raises(ConfigError, match="optimized_metric=test/loss: a pruner needs a metric"):
        command_of(LR, *MEDIAN, "optimized_metric=test/loss")


@needs("optuna")
def test_the_values_that_a_search_chose_reach_the_job(command_of):
    chosen = command_of(LR, "data.count=choice(8,16)", "name=choice('a b',c)", "test=true,false")
    chosen = chosen.search.arguments_of(
        {"optimizer.lr": 0.25, "data.count": 16, "name": "'a b'", "test": False}
    )
    names = ("sweep=", "varied=")
    (job,) = read_command_line(
        "train", ["-m", *(o for o in chosen if not o.startswith(names))]
    ).jobs
    assert job.config["optimizer"]["lr"] == 0.25
    assert job.config["data"]["count"] == 16
    assert (job.config["name"], job.config["test"]) == ("a b", False)
    assert chosen[-2:] == [
        "sweep='mine'",
        "varied=['optimizer.lr','data.count','name','test']",
    ]


@needs("optuna")
def test_a_continued_search_proposes_the_same_trials_as_an_uninterrupted_one(
    search, trials_of, tmp_path
):
    sampler = "hydra.sweeper.sampler.n_startup_trials=1"
    assert search(LR, sampler, "hydra.sweeper.n_trials=3", logs="whole") == 0
    for count in (2, 2, 3):
        assert search(LR, sampler, f"hydra.sweeper.n_trials={count}", logs="parts") == 0
    whole, parts = ([trial.params for trial in trials_of(logs)] for logs in ("whole", "parts"))
    assert whole == parts
    assert len({trial["optimizer.lr"] for trial in whole}) == 3
    runs = runs_in(tmp_path, "parts")
    assert sorted(run["trial"] for run in runs.values()) == [0, 1, 2]
    assert {run["status"] for run in runs.values()} == {"completed"}
    search(LR, sampler, "seed=1", "hydra.sweeper.n_trials=1", logs="other")
    assert not {*map(str, whole)} & {str(trial.params) for trial in trials_of("other")}


@needs("optuna")
def test_a_killed_trial_is_taken_over_and_a_running_one_is_not(
    search, settings_of, trials_of, tmp_path
):
    from filelock import FileLock
    from optuna.distributions import FloatDistribution

    settings = settings_of()
    locks = tmp_path / "logs" / "sweeps" / "mine" / LOCKS
    locks.mkdir(parents=True)
    space = {"optimizer.lr": FloatDistribution(1e-4, 0.5, log=True)}
    begun = [open_study(settings).ask(space) for _ in range(3)]
    for trial, searcher in zip(begun, ("dead", "alive"), strict=False):
        trial.set_user_attr(SEARCHER, searcher)
    with FileLock(locks / "alive"):
        assert search(LR, "hydra.sweeper.n_trials=4") == 0
    states = [trial.state.name for trial in trials_of()]
    assert states == ["COMPLETE", "RUNNING", "COMPLETE", "COMPLETE"]
    assert [trial.params for trial in trials_of()[:3]] == [trial.params for trial in begun]
    assert search(LR, "hydra.sweeper.n_trials=4") == 0
    assert [trial.state.name for trial in trials_of()] == ["COMPLETE"] * 4
    assert len(runs_in(tmp_path)) == 4


@needs("optuna")
def test_a_trial_waits_for_another_process_with_the_same_settings(search, trials_of, tmp_path):
    other = RunFolder.at(tmp_path / "logs" / "sweeps" / "mine" / "noise=0.1")
    with ThreadPoolExecutor(1) as pool:
        pool.submit(other.claim).result()
    threading.Timer(1.5 * CLAIM_TIMEOUT, other.release).start()
    assert search("data.noise=choice(0.1)", "hydra.sweeper.n_trials=1") == 0
    assert [trial.state.name for trial in trials_of()] == ["COMPLETE"]


@needs("optuna")
def test_a_pruned_trial_keeps_its_curve_and_is_in_the_report(search, tmp_path, capsys):
    rates = "optimizer.lr=choice(0.1,0.0001)"
    grid = "hydra.sweeper.sampler._target_=optuna.samplers.BruteForceSampler"
    more = ("trainer.max_epochs=4", "test=true", "seed=1", "hydra.sweeper.n_trials=2", grid)
    board = (
        "++logger={board:{_target_:lightning.pytorch.loggers.TensorBoardLogger,name:'',version:''}}"
    )
    assert search(rates, *more, *MEDIAN, "hydra.sweeper.pruner.n_warmup_steps=1", board) == 0
    runs = runs_in(tmp_path)
    assert {name: run["status"] for name, run in runs.items()} == {
        "lr=0.1": "completed",
        "lr=0.0001": "pruned",
    }
    assert "test/loss" in runs["lr=0.1"]["metrics"]
    assert "test/loss" not in runs["lr=0.0001"]["metrics"]
    folder = tmp_path / "logs" / "sweeps" / "mine"
    _, values = read_curves(folder / "lr=0.0001")["val/loss"]
    assert len(values) == 2  # one epoch of warm-up, and the one that pruned it
    page = report("mine", folder.parent).read_text("utf-8")
    assert "lr=0.0001</b>: pruned" in page
    assert "Learning curves" in page
    assert "2 trials: 1 complete, 1 pruned" in capsys.readouterr().out


@needs("optuna")
def test_a_pruned_run_can_be_resumed_by_hand(search, run_here, tmp_path):
    rates = ("optimizer.lr=choice(0.1,0.0001)", "trainer.max_epochs=3", "seed=1")
    grid = "hydra.sweeper.sampler._target_=optuna.samplers.BruteForceSampler"
    search(*rates, grid, "hydra.sweeper.n_trials=2", *MEDIAN)
    folder = tmp_path / "logs" / "sweeps" / "mine" / "lr=0.0001"
    assert RunFolder.open(folder).read_metrics()["status"] == "pruned"
    process = python("scripts/train.py", f"resume={folder}", cwd=PROJECT.root)
    assert process.returncode == 0, process.stderr
    assert RunFolder.open(folder).read_metrics()["status"] == "completed"


@needs("optuna")
def test_failed_trials_are_replaced_by_the_next_command(search, trials_of, capsys):
    limits = "++trainer.limit_val_batches=choice(1.0,0.1)"  # 0.1 of four batches leaves none
    grid = "hydra.sweeper.sampler._target_=optuna.samplers.BruteForceSampler"
    assert search(limits, grid, "hydra.sweeper.n_trials=2") == 1
    assert "1 trial failed; the same command replaces failed trials" in capsys.readouterr().out
    assert sorted(trial.state.name for trial in trials_of()) == ["COMPLETE", "FAIL"]
    search(limits, "hydra.sweeper.sampler._target_=optuna.samplers.RandomSampler", "seed=3")
    done = [trial for trial in trials_of() if trial.state.name == "COMPLETE"]
    assert len(done) > 1


@needs("optuna")
def test_a_study_of_another_search_is_not_continued(search, settings_of):
    search("data.noise=choice(0.1,0.2)", "hydra.sweeper.n_trials=1")
    with pytest.raises(ConfigError, match="data.noise: the study mine already has trials that"):
        search("data.noise=choice(0.1,0.3)", "hydra.sweeper.n_trials=2")
    with pytest.raises(ConfigError, match="direction=maximize: the study mine exists already"):
        search("data.noise=choice(0.1,0.2)", "hydra.sweeper.direction=maximize")
    with pytest.raises(ConfigError, match="hydra.sweeper.storage=no://x: "):
        open_study(settings_of(storage="no://x"))


@needs("optuna")
def test_a_truncated_line_in_the_journal_is_ignored(settings_of, trials_of):
    settings = settings_of()
    study = open_study(settings)
    study.ask()
    with open(settings["storage"], "a", encoding="utf-8") as journal:
        journal.write('{"op_code":4,"wor')  # a full disk, or a kill
    study.ask()
    studies._storage.cache_clear()
    assert [trial.number for trial in trials_of()] == [0, 1]


@needs("optuna")
def test_an_epoch_that_is_trained_twice_is_reported_once(settings_of):
    settings = settings_of()
    number = open_study(settings).ask().number
    with warnings.catch_warnings(action="error"):
        for value in (3.0, 4.0):
            assert not RunningTrial(Trial(settings, number)).judge(value, 0)
    trial = RunningTrial(Trial(settings, number))
    assert trial.study.trials[number].intermediate_values == {0: 3.0}
    trial.tell("completed", 1.0)
    trial.tell("failed", None)  # by another process that ran the same trial
    assert trial.study.trials[number].value == 1.0


@needs("optuna")
def test_a_launcher_gets_n_jobs_numbered_trials_at_a_time(command_of, settings_of, tmp_path):
    settings, given = settings_of(n_jobs=2), []

    class CompletingLauncher:
        def launch(self, batch, initial_job_idx):
            given.append((initial_job_idx, len(batch)))
            for number in range(initial_job_idx, initial_job_idx + len(batch)):
                RunningTrial(Trial(settings, number)).tell("completed", 1.0)
            return []

    search_all(command_of(LR).search, CompletingLauncher(), settings, tmp_path)
    assert given == [(0, 2), (2, 1)]


@needs("optuna")
@pytest.mark.slow
def test_two_processes_share_the_trials_of_a_search(trials_of, tmp_path):
    options = ("-m", "hydra/sweeper=search", "sweep=mine", LR, *QUICK, f"log_dir={tmp_path}/logs")
    (tmp_path / "output").touch()
    arguments = ["scripts/train.py", *options, "hydra.sweeper.n_trials=6"]
    both = [start(arguments, [tmp_path / "output"] * 2, PROJECT.root) for _ in range(2)]
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0], (tmp_path / "output").read_text()
    assert [trial.state.name for trial in trials_of()] == ["COMPLETE"] * 6
    assert len({trial.params["optimizer.lr"] for trial in trials_of()}) == 6
    assert len(runs_in(tmp_path)) == 6


@needs("optuna")
@pytest.mark.slow
def test_optuna_is_imported_only_for_a_search(tmp_path):
    for sweep, is_imported in (("seed=0,1", False), (f"{LR} hydra/sweeper=search", True)):
        code = (
            "import sys; sys.argv[1:] = []; import toy; from workbench import project;"
            "project.hand_over(toy.PROJECT);"
            "from workbench.jobs.command_line import read_command_line;"
            f"read_command_line('train', ['-m', 'log_dir={tmp_path}', *{sweep.split()!r}]);"
            "print('optuna' in sys.modules)"
        )
        done = python("-c", code)
        assert done.stdout.split()[-1] == str(is_imported), done.stderr


@needs("optuna")
def test_a_search_in_the_wrong_direction_ends_with_its_first_trial(search, tmp_path):
    with pytest.raises(ConfigError, match="direction=maximize: a lower optimized_metric is better"):
        search("data.noise=choice(0.1,0.2)", "hydra.sweeper.direction=maximize")
    assert len(runs_in(tmp_path)) == 1


@needs("optuna")
@pytest.mark.parametrize("quantities", ["aa", "ab"])
def test_trials_of_different_quantities_are_reported_as_not_comparable(
    quantities, settings_of, capsys
):
    study = open_study(settings_of())
    for number, name in enumerate(quantities):
        study.ask()
        meaning = Meaning("nats", ("points", f"loss {name}"))
        RunningTrial(Trial(settings_of(), number)).tell("completed", 1.0, meaning)
    assert _show_end(study, [0, 1]) == 0
    assert ("do not compare: loss a; loss b" in capsys.readouterr().out) == (quantities == "ab")


@needs("optuna")
def test_a_launcher_without_searches_is_refused_before_the_study_is_made(search, tmp_path):
    with pytest.raises(ConfigError, match="hydra/launcher=stacked is for grids"):
        search("data.noise=choice(0.1,0.2)", "hydra/launcher=stacked")
    assert not (tmp_path / "logs").exists()
