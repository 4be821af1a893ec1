"""Soft-edged shapes on float canvases: splines, polygons, strokes, noise textures."""

import functools
import itertools

import cv2
import numpy as np

# fillPoly and polylines take integer coordinates with this many fractional bits.
_FRACTION_BITS = 4


@functools.cache
def _spline_matrix(count, samples, closed):
    """The matrix that takes `count` points to the points of their Catmull-Rom curve."""
    points = np.eye(count)
    before, after = (
        (points[-1:], points[:2])
        if closed
        else (2 * points[:1] - points[1:2], 2 * points[-1:] - points[-2:-1])
    )
    padded = np.concatenate([before, points, after])
    t = np.linspace(0, 1, samples, endpoint=False)
    basis = (
        np.stack(
            [-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2], 1
        )
        / 2
    )
    curve = np.concatenate([basis @ padded[i : i + 4] for i in range(len(padded) - 3)])
    return curve if closed else np.concatenate([curve, points[-1:]])


def spline(points, samples_per_segment=6, closed=False):
    """Catmull-Rom curve through `points` (... x n x 2): ... x m x 2 float64, `points` included."""
    return _spline_matrix(points.shape[-2], samples_per_segment, closed) @ points


class Canvas:
    """Face units (origin between the eyes, x right, y down) as pixels of an H x W canvas."""

    def __init__(self, unit, x_range, y_range):
        self.unit = unit
        self.origin = np.array([x_range[0], y_range[0]], np.float32)
        self.shape = (
            int(round((y_range[1] - y_range[0]) * unit)),
            int(round((x_range[1] - x_range[0]) * unit)),
        )
        self.x = np.arange(self.shape[1], dtype=np.float32) / unit + np.float32(x_range[0])
        self.y = np.arange(self.shape[0], dtype=np.float32) / unit + np.float32(y_range[0])
        self._fixed_scale = unit * (1 << _FRACTION_BITS)
        self._fixed_shift = 0.5 - self.origin * self._fixed_scale

    def _fixed_point(self, points):
        return (points * self._fixed_scale + self._fixed_shift).astype(np.int32)

    def polygon(self, *outlines, blur=0.0):
        """Mask of filled polygons (n x 2 each) that do not overlap.

        Edges are softened with a Gaussian of `blur` face units. Returns (region, mask): `region`
        a pair of slices of the canvas, `mask` float32 in [0, 1].
        """
        region, mask, pixels = self._region(outlines, blur)
        cv2.fillPoly(mask, pixels, 255, cv2.LINE_AA, _FRACTION_BITS)
        return region, self._soften(mask, blur)

    def stroke(self, *curves, width, blur=0.0):
        """Mask of open curves drawn `width` face units wide; as `polygon` otherwise."""
        region, mask, pixels = self._region(curves, blur + width)
        cv2.polylines(
            mask,
            pixels,
            False,
            255,
            max(1, int(round(width * self.unit))),
            cv2.LINE_AA,
            _FRACTION_BITS,
        )
        return region, self._soften(mask, blur)

    def creases(self, curves, blur):
        """Depth map (H x W, float32) of skin creases: (points, depth 0..1) pairs, tapering out."""
        depth = np.zeros(self.shape, np.uint8)
        width = max(1, int(round(0.03 * self.unit)))
        fixed = self._curves(
            self._fixed_point(np.concatenate([points for points, _ in curves])),
            [points for points, _ in curves],
        )
        for pixels, (_, strength) in zip(fixed, curves):
            middle = pixels[len(pixels) // 4 : len(pixels) - len(pixels) // 4]
            for part, share in ((pixels, 140), (middle, 255)):
                cv2.polylines(
                    depth,
                    [part],
                    False,
                    int(share * min(1.0, strength)),
                    width,
                    cv2.LINE_AA,
                    _FRACTION_BITS,
                )
        return self._soften(depth, blur)

    def _region(self, curves, margin):
        """The slices of the canvas that hold the curves and a margin, an empty mask of that size,
        and the curves in it."""
        fixed = self._fixed_point(np.concatenate(curves))
        pad = int(3 * margin * self.unit + 3)
        x, y, width, height = cv2.boundingRect(fixed)
        left = max((x >> _FRACTION_BITS) - pad, 0)
        top = max((y >> _FRACTION_BITS) - pad, 0)
        right = max(left + 1, min(((x + width) >> _FRACTION_BITS) + pad, self.shape[1]))
        bottom = max(top + 1, min(((y + height) >> _FRACTION_BITS) + pad, self.shape[0]))
        corner = np.array([left << _FRACTION_BITS, top << _FRACTION_BITS], np.int32)
        return (
            (slice(top, bottom), slice(left, right)),
            np.zeros((bottom - top, right - left), np.uint8),
            self._curves(fixed - corner, curves),
        )

    @staticmethod
    def _curves(points, curves):
        """`points`, the curves' one after the other, as a list of theirs again."""
        ends = itertools.accumulate(map(len, curves))
        return [points[end - len(curve) : end] for end, curve in zip(ends, curves)]

    def _soften(self, mask, blur):
        sigma = blur * self.unit
        if sigma > 0.3:
            size = 2 * int(np.ceil(2.2 * sigma)) + 1
            mask = cv2.GaussianBlur(mask, (size, size), sigma)
        return mask * np.float32(1 / 255)


def noise_texture(rng, shape, sigma, stretch=1.0):
    """Smooth noise (H x W, float32, mean 0, standard deviation 1).

    `sigma` in pixels across, `sigma * stretch` pixels down (hair strands run downwards).
    """
    # Drawn on a grid as coarse as the smoothness allows, then enlarged: a tenth of the time.
    across, down = max(1.0, sigma / 1.2), max(1.0, sigma * stretch / 1.2)
    coarse = (int(np.ceil(shape[0] / down)) + 1, int(np.ceil(shape[1] / across)) + 1)
    noise = cv2.GaussianBlur(
        rng.standard_normal(coarse, dtype=np.float32),
        (0, 0),
        sigmaX=max(sigma / across, 0.3),
        sigmaY=max(sigma * stretch / down, 0.3),
    )
    noise = cv2.resize(noise, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return noise / max(float(noise.std()), 1e-6)
