"""Learning rate schedules equal those of torch, and settings out of range are refused."""

import pytest
import torch

from byrote.recipe import SGD, Constant, Cosine, Exponential, MultiStep, Schedule, Step, Training

EPOCHS = 12


@pytest.mark.parametrize(
    ("schedule", "reference"),
    [
        (Constant(), lambda o: torch.optim.lr_scheduler.ConstantLR(o, factor=1.0)),
        (Step(every=5, gamma=0.3), lambda o: torch.optim.lr_scheduler.StepLR(o, 5, 0.3)),
        (MultiStep(milestones=(3, 8), gamma=0.2), lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [3, 8], 0.2)),
        (Exponential(gamma=0.9), lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.9)),
        (Cosine(), lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, EPOCHS)),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_a_schedule_is_torchs(schedule, reference):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.7)
    scheduler = reference(optimizer)
    for epoch in range(EPOCHS):
        assert 0.7 * schedule.factor(epoch, EPOCHS) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        scheduler.step()


def test_every_schedule_starts_at_one_and_is_listed():
    for kind in (kind for kind in Schedule.registry if ":" not in kind):  # other tests register more schedules
        assert Schedule.from_spec(kind).factor(0, 100) == 1.0
    assert {"constant", "step", "multi_step", "exponential", "cosine"} <= set(Schedule.registry)


@pytest.mark.parametrize(
    "bad",
    [{"epochs": 0}, {"batch_size": 1}, {"precision": "fp16"}, {"optimizer": {"kind": "sgd", "lr": 0}}, {"clip": -1}],
)
def test_settings_have_ranges(bad):
    with pytest.raises(ValueError):
        Training(**bad)


def test_defaults_are_the_optimizers_own():
    assert Training().optimizer == SGD()
    assert Training(optimizer="adam").optimizer.lr == 0.001
