"""Density control: what follows a Gaussian through clone, split and prune; caps; continuing."""

import copy
from dataclasses import replace

import pytest
import torch
from gsplat.strategy import DefaultStrategy
from gsplat.strategy.ops import reset_opa
from torch import nn

from talkingavatar.errors import UserError
from talkingavatar.geometry.spherical_harmonics import rgb_to_sh
from talkingavatar.splatting import answered, rasterise
from talkingavatar.splatting.density import DensityControl, DensityPolicy
from talkingavatar.types import Gaussians
from tests.splatting.fake_kernels import Counted
from tests.splatting.scenes import cameras, cloud

WHITE = torch.ones(3)


class Fit:
    """The smallest fit with density control: a cloud towards grey, or other Gaussians towards a picture."""

    def __init__(self, mode="2dgs", count=120, scene=None, views=None, picture=0.5, **policy):
        g = scene or cloud(count, seed=1)
        self.views, self.picture, count = views or cameras(2, 32, 32), picture, len(g)
        values = {
            "means": g.means,
            "quats": g.quats,
            "scales": g.scales.log(),
            "opacities": torch.logit(g.opacities),
            "sh": g.sh,
        }
        self.mode, self.step = mode, 0
        self.parameters = nn.ParameterDict({name: nn.Parameter(v.clone()) for name, v in values.items()})
        self.optimisers = {name: torch.optim.Adam([p], lr=1e-3) for name, p in self.parameters.items()}
        carried = {"parent": torch.arange(count), "region": torch.arange(count)[:, None] % 3}
        settings = {"start": 1, "every": 4, "stop": 100, "grow_gradient": 1e-4, "prune_opacity": 0.15}
        self.control = DensityControl(DensityPolicy(**(settings | policy)), self.parameters, self.optimisers, carried)

    def run(self, steps):
        changes = []
        for _ in range(steps):
            torch.manual_seed(self.step)
            p = self.parameters
            g = Gaussians(p["means"], p["quats"], p["scales"].exp(), p["opacities"].sigmoid(), p["sh"])
            rendering = self.draw(g)
            self.control.before_backward(self.step, [[rendering.info]])
            error = (rendering.rgb - self.picture).square()
            error.mean().backward()
            for optimiser in self.optimisers.values():
                optimiser.step()
                optimiser.zero_grad()
            seen, told = self.control.seen(self.step, [[rendering.info]]), None
            if self.control.asks(self.step):
                told = answered(g, error.mean(-1, keepdim=True), self.draw)[None]
            changes.append(self.control.after_step(self.step, seen, told))
            self.step += 1
        return changes

    def draw(self, gaussians):
        return rasterise(gaussians, self.views, WHITE, self.mode)

    def snapshot(self):
        return copy.deepcopy(
            {
                "parameters": {name: p.detach() for name, p in self.parameters.items()},
                "optimisers": {name: o.state_dict() for name, o in self.optimisers.items()},
                "density": self.control.state_dict(),
            }
        )

    def restore(self, state, step):
        for name, value in state["parameters"].items():
            self.parameters[name] = nn.Parameter(value.clone())
            self.optimisers[name].param_groups[0]["params"] = [self.parameters[name]]
            self.optimisers[name].load_state_dict(state["optimisers"][name])
        self.control.load_state_dict(state["density"])
        self.step = step


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1.0])
def test_sums_that_are_none_are_refused(bad):
    fit = Fit("3dgs")
    state = fit.snapshot()
    for name in ("grad2d", "count"):
        sums = state["density"][name]
        for wrong in (torch.full_like(sums, bad), sums.double()):
            with pytest.raises(ValueError, match=f"{name} is no sum"):
                fit.control.load_state_dict(state["density"] | {name: wrong})
    fit.restore(state, 0)


@pytest.mark.parametrize("mode", ["3dgs", "2dgs"])
def test_counts_and_what_is_carried_stay_together(mode):
    fit = Fit(mode)
    changes = fit.run(13)
    count = len(fit.parameters["means"])
    assert sum(c.grown for c in changes) > 0 and sum(c.pruned for c in changes) > 0
    assert count == 120 + sum(c.grown - c.pruned for c in changes)
    assert {c for c in changes if c.grown or c.pruned} <= {changes[4], changes[8], changes[12]}
    carried = fit.control.carried
    assert carried["parent"].shape == (count,) and carried["region"].shape == (count, 1)
    assert torch.equal(carried["region"][:, 0], carried["parent"] % 3)
    for name, parameter in fit.parameters.items():
        assert len(parameter) == count
        assert fit.optimisers[name].param_groups[0]["params"][0] is parameter
        assert len(fit.optimisers[name].state[parameter]["exp_avg"]) == count


def test_children_stay_with_their_parent():
    """A clone lies where its parent did when the count changed, a split one within its extent."""
    fit = Fit(prune_opacity=0.0)
    origin = cloud(120, seed=1)
    fit.run(5)
    parent = fit.control.carried["parent"]
    assert len(parent) > 120
    distance = (fit.parameters["means"].detach() - origin.means[parent]).norm(dim=-1)
    assert (distance < 5 * origin.scales[parent].amax(-1) + 0.02).all()


def test_the_cap_holds_and_takes_the_steepest():
    fit = Fit(max_gaussians=130, prune_opacity=0.0)
    changes = fit.run(9)
    assert changes[4].grown == 10 and changes[8].grown == 0
    assert len(fit.parameters["means"]) == 130


def test_growth_leaves_room_for_what_is_added():
    """Of which neither optimisers nor sums know anything; those there were keep theirs."""
    fit = Fit(max_gaussians=150, spare=0.1, prune_opacity=0.0)
    assert fit.run(9)[4].grown == 15
    fit.run(1)
    before, control = fit.snapshot(), fit.control
    values = {name: p.detach()[:3] + 1 for name, p in fit.parameters.items()}
    control.add(values, {"parent": torch.tensor([7, 8, 9]), "region": torch.tensor([[1], [2], [0]])})
    after = fit.snapshot()
    for name, parameter in fit.parameters.items():
        assert parameter.requires_grad and fit.optimisers[name].param_groups[0]["params"][0] is parameter
        assert torch.equal(parameter, torch.cat([before["parameters"][name], values[name]])), name
        (old,), (new,) = (state["optimisers"][name]["state"].values() for state in (before, after))
        assert torch.equal(new["step"], old["step"])
        for moment in ("exp_avg", "exp_avg_sq"):
            assert old[moment].any() and torch.equal(new[moment][:-3], old[moment]) and not new[moment][-3:].any()
    for name, old in before["density"].items():
        assert torch.equal(after["density"][name][:-3], old)
    assert before["density"]["count"].any() and not after["density"]["count"][-3:].any()
    assert control.carried["parent"][-3:].tolist() == [7, 8, 9]
    fit.run(3)


def test_opacities_are_reset_when_asked():
    fit = Fit(reset_opacity_every=6, every=50)
    fit.run(6)
    assert fit.parameters["opacities"].sigmoid().max() > 0.5
    fit.run(1)
    assert fit.parameters["opacities"].sigmoid().max() <= 0.3 + 1e-6


def test_nothing_changes_under_none_or_after_the_stop():
    for fit in (Fit(name="none"), Fit(stop=3)):
        assert not any(c.grown or c.pruned for c in fit.run(9))
        assert len(fit.parameters["means"]) == 120


@pytest.mark.parametrize("by", ["gradient", "error"])
def test_continuing_equals_never_stopping(by):
    whole, stopped = Fit(by=by), Fit(by=by)
    whole.run(14)
    stopped.run(6)
    state = stopped.snapshot()
    continued = Fit(by=by)
    continued.restore(state, 6)
    continued.run(8)
    for name, value in whole.parameters.items():
        assert torch.equal(continued.parameters[name], value), name
    for name, value in whole.control.carried.items():
        assert torch.equal(continued.control.carried[name], value), name


def test_the_state_is_safe_to_load(tmp_path):
    fit = Fit()
    fit.run(3)
    torch.save(fit.control.state_dict(), tmp_path / "density.pt")
    loaded = torch.load(tmp_path / "density.pt", weights_only=True)
    assert loaded["count"].sum() > 0 and set(loaded) == {"grad2d", "count", "parent", "region"}


@pytest.mark.parametrize("field", ["name", "by"])
def test_an_unknown_policy_is_refused(field):
    with pytest.raises(UserError, match=f"density.{field}"):
        Fit(**{field: "mcmcc"})


def test_by_error_what_is_finely_striped_grows_and_gets_finer():
    """A plane of surfels in the mean colours of a picture whose left half is finely striped; within the cap."""
    side, size = 14, 56
    x, y = torch.meshgrid(*[torch.linspace(-1.5, 1.5, side)] * 2, indexing="xy")
    means = torch.stack([x, y, 0 * x], -1).reshape(-1, 3)
    left, red = means[:, :1] < 0, torch.tensor([0.9, 0.2, 0.1])
    upright = torch.tensor([1.0, 0, 0, 0]).repeat(side**2, 1)
    looks = torch.full((side**2,), 0.8), rgb_to_sh(torch.where(left, 0.5, red))[:, None]
    picture = red.repeat(1, size, size, 1)
    picture[:, :, : size // 2] = (torch.arange(size // 2) // 2 % 2)[:, None]
    fit = Fit(
        scene=Gaussians(means, upright, torch.tensor([0.12, 0.12, 0.01]).repeat(side**2, 1), *looks),
        views=cameras(1, size, size), picture=picture,
        by="error", every=10, max_gaussians=240, prune_opacity=0.0, grow_gradient=1e-5,
    )  # fmt: skip
    grown = [change.grown for change in fit.run(21)]
    assert grown[10] == 240 - side**2 and sum(grown) == grown[10] and len(fit.parameters["means"]) == 240
    parents, count = fit.control.carried["parent"].unique(return_counts=True)
    assert len(parents) == side**2 and left[parents[count > 1], 0].float().mean() > 0.95
    finer = fit.parameters["scales"].detach().exp()[:, :2].amin(-1) < 0.1
    assert torch.equal(fit.control.carried["parent"][finer].unique(), parents[count > 1])


def test_what_answers_for_no_error_does_not_grow():
    fit = Fit(by="error", start=0, every=1, grow_gradient=0.0, prune_opacity=0.0)
    wrong = torch.zeros(1, 120)
    wrong[0, 3:8] = 1.0
    assert fit.control.after_step(1, torch.ones(2, 1, 120), wrong).grown == 5
    assert fit.control.carried["parent"][-10:].tolist() == [3, 4, 5, 6, 7] * 2


def test_no_value_of_a_kept_integer_loses_its_last_gaussian():
    fit = Fit(prune_opacity=0.9, keep="parent", grow_gradient=1.0)
    with torch.no_grad():
        fit.parameters["opacities"].fill_(-3.0)
        fit.parameters["opacities"][::3] = 5.0
    changes = fit.run(12)
    assert sorted(fit.control.carried["parent"].tolist()) == list(range(120))
    assert sum(change.pruned for change in changes) == 0
    free = Fit(prune_opacity=0.9, grow_gradient=1.0)
    with torch.no_grad():
        free.parameters["opacities"].fill_(-3.0)
    assert sum(change.pruned for change in free.run(12)) == 120


def test_of_a_group_that_would_vanish_the_most_opaque_stays():
    fit = Fit(prune_opacity=0.9, keep="region", grow_gradient=1.0)
    fit.control._carried["region"] = torch.arange(120) % 3
    with torch.no_grad():
        fit.parameters["opacities"].copy_(torch.linspace(-4, -3, 120))
    fit.run(12)
    assert len(fit.parameters["means"]) == 3
    assert fit.control.carried["region"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("mode", ["3dgs", "2dgs"])
def test_what_is_seen_is_what_gsplat_counts(mode):
    """Two views of one loss; and the same views one by one, their losses averaged as those of two frames."""
    fit = Fit(mode, start=0)
    p = fit.parameters
    g = Gaussians(p["means"], p["quats"], p["scales"].exp(), p["opacities"].sigmoid(), p["sh"])
    both = cameras(2, 32, 32)
    together = rasterise(g, both, WHITE, mode)
    alone = [rasterise(g, replace(both, viewmats=both.viewmats[[i]], Ks=both.Ks[[i]]), WHITE, mode) for i in (0, 1)]
    views = [[rendering.info] for rendering in (together, *alone)]
    fit.control.before_backward(0, views)
    (together.rgb - 0.5).square().mean().backward(retain_graph=True)
    torch.stack([(rendering.rgb - 0.5).square().mean() for rendering in alone]).mean().backward()
    key = "gradient_2dgs" if mode == "2dgs" else "means2d"
    strategy, state = DefaultStrategy(key_for_gradient=key), {"grad2d": None, "count": None}
    strategy._update_state(p, state, together.info | {"gaussian_ids": None})
    one, other = fit.control.seen(0, views[:1]), fit.control.seen(0, views[1:], frames=2)
    torch.testing.assert_close(one.sum(1), torch.stack([state["grad2d"], state["count"]]))
    torch.testing.assert_close(other, one)


@pytest.mark.parametrize("mode", ["3dgs", "2dgs"])
def test_drawings_whose_mean_is_the_frame_add_up(mode):
    """A frame drawn twice alike and averaged says what the same frame drawn once does."""
    fit = Fit(mode, start=0)
    p = fit.parameters
    g = Gaussians(p["means"], p["quats"], p["scales"].exp(), p["opacities"].sigmoid(), p["sh"])
    once, *twice = (rasterise(g, cameras(1, 32, 32), WHITE, mode) for _ in range(3))
    views = [[once.info]], [[drawing.info for drawing in twice]]
    for view in views:
        fit.control.before_backward(0, view)
    (once.rgb - 0.5).square().mean().backward(retain_graph=True)
    (torch.stack([drawing.rgb for drawing in twice]).mean(0) - 0.5).square().mean().backward()
    expected, found = (fit.control.seen(0, view) for view in views)
    assert expected[0].any()
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("reset", [0, 5])
def test_the_count_changes_as_by_gsplat(reset):
    """To the bit, random numbers included: parameters, moments, what is carried and the state."""
    ours, theirs = Fit(reset_opacity_every=reset), Fit(reset_opacity_every=reset)
    policy = ours.control.policy
    strategy = DefaultStrategy(
        prune_opa=policy.prune_opacity, grow_grad2d=policy.grow_gradient, grow_scale3d=0.06, prune_scale3d=0.1,
        refine_start_iter=1, refine_every=4, reset_every=reset or 10**9,
    )  # fmt: skip
    ours.control.policy = replace(policy, grow_scale=0.06)
    state = {"scene_scale": 1.0, **theirs.control._carried}
    seen = torch.stack([torch.linspace(0, 1e-3, 120), torch.ones(120)])[:, None]
    for fit in (ours, theirs):
        for optimiser in fit.optimisers.values():
            for parameter in optimiser.param_groups[0]["params"]:
                parameter.grad = torch.sin(torch.arange(parameter.numel())).view_as(parameter)
            optimiser.step()
    torch.manual_seed(3)
    change = ours.control.after_step(8, seen)
    state |= {"grad2d": seen[0, 0].clone(), "count": seen[1, 0].clone()}
    torch.manual_seed(3)
    cloned, split = strategy._grow_gs(theirs.parameters, theirs.optimisers, state, 8)
    pruned = strategy._prune_gs(theirs.parameters, theirs.optimisers, state, 8)
    assert change == (cloned + split, pruned) and min(cloned, split, pruned) > 0
    for name, parameter in ours.parameters.items():
        other = theirs.parameters[name]
        assert torch.equal(parameter, other) and parameter.requires_grad, name
        mine, its = ours.optimisers[name].state[parameter], theirs.optimisers[name].state[other]
        assert mine.keys() == its.keys() and all(torch.equal(mine[key], its[key]) for key in mine), name
    for name, value in ours.control.carried.items():
        assert torch.equal(value, state[name]), name
    if reset:
        ours.control._reset_opacities()
        reset_opa(theirs.parameters, theirs.optimisers, state, 2 * policy.prune_opacity)
        assert torch.equal(ours.parameters["opacities"], theirs.parameters["opacities"])


def test_the_host_does_not_wait_between_changes_of_the_count():
    fit = Fit(start=0, every=10)
    rendering = rasterise(Gaussians(**fit.parameters), cameras(1, 32, 32), WHITE, "2dgs")
    views = [[rendering.info]]
    fit.control.before_backward(1, views)
    rendering.rgb.sum().backward()
    with Counted() as counted:
        fit.control.after_step(1, fit.control.seen(1, views))
    assert counted.waits == [] and len(counted.launches) < 20
