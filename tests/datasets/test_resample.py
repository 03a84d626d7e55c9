"""Smaller images agree with those of Pillow."""

import numpy as np
import pytest

from sklearn_meta.datasets._omniglot import box_weights, resample


@pytest.mark.parametrize("size", [1, 3, 5, 7, 10, 14, 20, 28, 32, 35, 64, 84, 105])
def test_resampling_is_the_box_filter_of_pillow(size):
    Image = pytest.importorskip("PIL.Image")
    ink = (np.random.default_rng(0).random((105, 105)) < 0.3).astype(np.uint8)
    ours = 255 * resample(np.packbits(ink)[np.newaxis], size)[0]
    pillow = np.asarray(Image.fromarray(255 * ink).resize((size, size), Image.Resampling.BOX))
    np.testing.assert_allclose(ours, pillow, atol=1.001)  # Pillow rounds twice


def test_every_old_pixel_counts_in_one_new_one():
    for size in range(1, 106):
        weights, message = box_weights(size), f"size {size}"
        np.testing.assert_allclose(weights.sum(axis=1), 1, err_msg=message)
        np.testing.assert_array_equal((weights > 0).sum(axis=0), 1, message)
        np.testing.assert_array_equal(np.diff(weights.argmax(axis=0)) >= 0, True, message)
        if 105 % size == 0:  # then it is the mean of the area
            np.testing.assert_allclose(weights.max(axis=1), size / 105, err_msg=message)
