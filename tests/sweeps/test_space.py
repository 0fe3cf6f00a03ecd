"""Ranges as users write them, as studies keep them."""

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from titans_seq.domains.registry import DOMAINS
from titans_seq.errors import DataError
from titans_seq.pipelines.settings import parse_settings, parse_value
from titans_seq.sweeps.plan import make_plan
from titans_seq.sweeps.space import Space


def test_ranges_are_read_as_they_are_meant():
    space = Space.parse(["memory_depth=1:4", "learning_rate=1e-4:1e-2:log", "momentum=true,false", "dim=32, 64",
                         "variant=lmm,mag", "dropout=0.0:0.5", "batch_size=8:64:log"])  # fmt: skip
    assert space.parameters == {
        "memory_depth": IntDistribution(1, 4),
        "learning_rate": FloatDistribution(1e-4, 1e-2, log=True),
        "momentum": CategoricalDistribution([True, False]),
        "dim": CategoricalDistribution([32, 64]),
        "variant": CategoricalDistribution(["lmm", "mag"]),
        "dropout": FloatDistribution(0.0, 0.5),
        "batch_size": IntDistribution(8, 64, log=True),
    }
    assert Space.from_dict(space.to_dict()) == space


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dim", "a range reads"),
        ("dim=", "a range reads"),
        ("=1:2", "a range reads"),
        ("dim=8:4", "must rise"),
        ("dim=8:8", "--set dim=8 fixes it"),
        ("dim=8", "--set dim=8 fixes it"),
        ("dim=1:nan", "must rise"),
        ("dim=1:inf", "must rise"),
        ("dim=1:1e300", "must rise"),
        ("dim=0:4:log", "begin above 0"),
        ("dim=a:b", "must be numbers"),
        ("dim=true:false", "must be numbers"),
        ("dim=1:2:3", "NAME=LOW:HIGH:log"),
        ("dim=1:2:log:4", "NAME=LOW:HIGH:log"),
        ("dim=1,1", "must differ"),
        ("dim=1,,2", "none may be empty"),
    ],
)
def test_ranges_that_are_none(text, message):
    with pytest.raises(DataError, match=message):
        Space.parse([text])


def test_what_goes_together_is_checked_together(wave_file):
    """Heads of 3 do not divide the default width; those that are tried they do."""
    plan, task = make_plan("timeseries", wave_file, Space.parse(["dim=96,192", "heads=3,6", "dropout=0:1"]), {})
    with pytest.raises(DataError, match="dropout"):  # 1 is too much; a number, as the default is one
        plan.check(task.build)
    plan, task = make_plan("timeseries", wave_file, Space.parse(["dim=96,192", "heads=3,6", "dropout=0:0.5"]), {})
    plan.check(task.build)
    assert isinstance(plan.ranges.parameters["dropout"], FloatDistribution)


def test_a_name_varies_in_one_way():
    with pytest.raises(DataError, match="two ways"):
        Space.parse(["dim=1:2", "dim=3:4"])


def test_values():
    given = ["1", "1.5", "1e-3", "true", "False", "None", "none", "lmm"]
    assert [parse_value(v) for v in given] == [1, 1.5, 1e-3, True, False, None, "none", "lmm"]
    assert parse_settings(["dim=8", "dropout=0.1"]) == {"dim": 8, "dropout": 0.1}
    assert parse_settings(["quantiles=(0.1, 0.5)", "target=['a', 'b']"]) == {
        "quantiles": (0.1, 0.5),
        "target": ("a", "b"),
    }
    for wrong in (["dim"], ["dim="], ["=8"], ["dim=1", "dim=2"], ["q=(0.1"], ["q=(f())"], ["q=(1)"], ["q=('a')"]):
        with pytest.raises(DataError):
            parse_settings(wrong)


@pytest.mark.filterwarnings("ignore:.*training sequences stand in")
@pytest.mark.parametrize("domain", DOMAINS)
def test_every_domain_takes_all_of_its_own_space(domain):
    plan, task = make_plan(domain, None, Space({}), {})
    plan.check(task.build)
    assert {"memory_depth", "chunk_size", "momentum", "forget", "variant"} <= set(plan.ranges.parameters)


@pytest.mark.parametrize(
    ("ranges", "fixed", "message"),
    [
        (["memory_depth=0:3"], {}, "memory_depth 0"),
        (["variant=lmm,rnn"], {}, "variant 'rnn'"),
        (["learning_rate=-1.0:1.0"], {}, "learning_rate -1.0"),
        (["depth=1:3"], {}, "has no parameter 'depth'"),
        ([], {"depth": 3}, "has no parameter 'depth'"),
        ([], {"dim": "wide"}, "dim"),
        (["random_state=0:3"], {}, "it can be set, not varied"),
        (["calendar=true,false"], {}, "it can be set, not varied"),
        (["dim=8,16"], {"dim": 8}, "set and varied"),
        (["dim=32:34"], {}, "dim 33"),
        (["dim=8,16", "heads=8,16"], {}, "dim 8, heads 16"),
        ([], {"horizon": 8}, "--horizon"),
    ],
)
def test_spaces_that_no_estimator_takes(ranges, fixed, message, wave_file):
    def check():
        plan, task = make_plan("timeseries", wave_file, Space.parse(ranges), {"horizon": None}, fixed=fixed)
        plan.check(task.build)

    with pytest.raises(DataError, match=message):
        check()
