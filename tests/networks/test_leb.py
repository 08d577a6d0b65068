import pytest
import torch

from talkingavatar.networks.leb import LearnableExpressionBlendshapes, excited


@pytest.fixture
def leb():
    torch.manual_seed(0)
    head = torch.tensor([True, False, True, False, True, False])
    return LearnableExpressionBlendshapes(torch.randn(6, 3, 4), head)


def test_starts_as_the_generic_basis(leb):
    psi = torch.randn(4)
    torch.testing.assert_close(leb(psi), leb.basis @ psi)


def test_residual_moves_head_vertices_only_and_scales_with_the_coefficient(leb):
    with torch.no_grad():
        leb.residual.normal_()
    psi = torch.randn(4)
    extra = leb(psi) - leb(psi, personal=False)
    assert (extra[[1, 3, 5]] == 0).all() and (extra[[0, 2, 4]] != 0).any()
    torch.testing.assert_close(leb(2 * psi) - leb(2 * psi, personal=False), 2 * extra)


def test_gradient_lies_on_masked_rows(leb):
    leb(torch.randn(4)).sum().backward()
    assert leb.residual.grad.shape == (3, 3, 4) and leb.residual.grad.abs().sum() > 0


def test_norms_at_zero_and_elsewhere(leb):
    leb.norm("fro").backward()
    assert leb.residual.grad.isfinite().all()
    with torch.no_grad():
        leb.residual.fill_(2.0)
    count = leb.residual.numel()
    assert leb.norm("sumsq").item() == pytest.approx(4 * count)
    assert leb.norm("mse").item() == pytest.approx(4)
    assert leb.norm("fro").item() == pytest.approx(2 * count**0.5)


def test_what_frames_do_not_excite_is_not_learned():
    """One optimiser step of a size that gradients do not change moves the mesh along what was seen, nowhere else."""
    seen = torch.zeros(50, 4)
    seen[:, 0], seen[:, 2] = torch.linspace(0, 1, 50), 0.3 * torch.rand(50)
    seen[:, 1] = 1e-3 * torch.randn(50)  # a tracker's noise
    leb = LearnableExpressionBlendshapes(torch.randn(6, 3, 4), torch.ones(6, dtype=torch.bool), excited(seen))
    with torch.no_grad():
        leb.residual.fill_(1.0)
    moved = [float((leb(torch.eye(4)[i]) - leb(torch.eye(4)[i], personal=False)).norm()) for i in range(4)]
    assert leb.residual.shape[2] == 2 and moved[0] > 2 * moved[2] > 0
    assert moved[1] < 1e-2 * moved[0] and moved[3] < 1e-6


def test_faces_that_never_move_excite_nothing():
    assert excited(torch.zeros(5, 4)).shape == (4, 0)


def test_what_was_learned_keeps_its_directions(leb):
    """A run that was fitted is opened as it was, though its capture's faces are read otherwise by now."""
    head, psi = torch.zeros(6, dtype=torch.bool).index_fill(0, leb.rows, True), torch.randn(4)
    fitted = LearnableExpressionBlendshapes(torch.randn(6, 3, 4), head, torch.randn(4, 2))
    fitted.residual.data.normal_()
    anew = LearnableExpressionBlendshapes(fitted.basis, head, torch.randn(4, 3))
    anew.load_state_dict(fitted.state_dict())
    assert torch.equal(anew(psi), fitted(psi)) and isinstance(anew.residual, torch.nn.Parameter)
    older = {"residual": torch.randn(3, 3, 3)}
    LearnableExpressionBlendshapes(fitted.basis, head, torch.randn(4, 3)).load_state_dict(older)
    with pytest.raises(RuntimeError, match="exciting"):
        anew.load_state_dict({"residual": anew.residual, "exciting": torch.zeros(5, 2)})
