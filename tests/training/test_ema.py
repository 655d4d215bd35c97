"""The exponential moving average of the weights, against its formula."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn

from higherhrnet.training.ema import ExponentialMovingAverage


def test_the_moving_average_equals_its_formula() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))
    average = ExponentialMovingAverage(network, 0.6)
    expected = {name: tensor.double() for name, tensor in network.state_dict().items()}
    for step in range(1, 12):
        network(torch.randn(4, 2, 5, 5))
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter))
        average.update(step)
        decay = min(0.6, (1 + step) / (10 + step))
        for name, tensor in network.state_dict().items():
            expected[name] = decay * expected[name] + (1 - decay) * tensor.double()
    expected["1.num_batches_tracked"] = torch.tensor(11.0)
    for name, tensor in average.network.state_dict().items():
        torch.testing.assert_close(tensor.double(), expected[name].double())
    assert not average.network.training
    assert not any(parameter.requires_grad for parameter in average.network.parameters())
