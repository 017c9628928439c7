"""What PyTorch's DataLoader gives does not depend on the number of workers. Needs torch."""

import numpy as np
import pytest

import hiermodel as hm

data = pytest.importorskip("torch.utils.data")


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_equal_bytes_whatever_the_number_of_workers(workers):
    dataset = hm.datasets.load("paper", num=64)
    loader = data.DataLoader(dataset, batch_size=10, num_workers=workers)
    rows = np.concatenate([batch.numpy() for batch in loader])
    np.testing.assert_array_equal(rows, dataset.sequences)
