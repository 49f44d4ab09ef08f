//! Strokes of a pen as an image like those that the networks learn.
//!
//! Those were bitmaps of 32 × 32: each digit as high as the bitmap, at most 20 pixels wide and in the
//! middle, with lines that were made thicker or thinner until all digits had about the same ink. Each
//! pixel of 8 × 8 counts the black ones of a block of 4 × 4.

use wasm_bindgen::prelude::wasm_bindgen;

/// Pixels along a side of the bitmap, and of the image.
const FINE: usize = 32;
const COARSE: usize = 8;
const BLOCK: usize = FINE / COARSE;
/// Of the bitmap.
const WIDTH: f32 = 20.0;
const HEIGHT: f32 = FINE as f32;
/// Black pixels of a bitmap: the mean of all 1 797.
const INK: usize = 312;
/// How thick lines may become.
const THINNEST: f32 = 1.5;
const THICKEST: f32 = 11.0;
const HALVINGS: usize = 8;
/// A digit is drawn out in one direction no more than so many times as much as in the other.
const MOST_STRETCH: f32 = 2.0;
/// A side of what is drawn counts as so much of the pad at least: dots stay dots.
const LEAST_SIDE: f32 = 0.05;

type Point = [f32; 2];

/// The 64 pixels, from 0 to 1, of strokes as numbers x, y, x, y, … from 0 to 1, y downwards. NaN, NaN
/// stands between two strokes.
#[wasm_bindgen]
pub fn pad_pixels(strokes: &[f32]) -> Vec<f32> {
    let strokes = strokes_of(strokes);
    if strokes.is_empty() {
        return vec![0.0; COARSE * COARSE];
    }
    // The more ink, the thicker the line.
    let (mut thin, mut thick) = (THINNEST, THICKEST);
    for _ in 0..HALVINGS {
        let middle = 0.5 * (thin + thick);
        match bitmap(&strokes, middle).iter().filter(|&&ink| ink).count() < INK {
            true => thin = middle,
            false => thick = middle,
        }
    }
    let bitmap = bitmap(&strokes, thin);
    let mut pixels = vec![0.0; COARSE * COARSE];
    for (index, _) in bitmap.iter().enumerate().filter(|(_, ink)| **ink) {
        let (x, y) = (index % FINE / BLOCK, index / FINE / BLOCK);
        pixels[y * COARSE + x] += 1.0 / (BLOCK * BLOCK) as f32;
    }
    pixels
}

fn strokes_of(numbers: &[f32]) -> Vec<Vec<Point>> {
    let points: Vec<Point> = numbers.chunks_exact(2).map(|p| [p[0], p[1]]).collect();
    let strokes = points.split(|point| point.iter().any(|number| !number.is_finite()));
    let strokes = strokes.filter(|stroke| !stroke.is_empty());
    strokes.map(<[Point]>::to_vec).collect()
}

/// Where lines of this thickness are black.
fn bitmap(strokes: &[Vec<Point>], thickness: f32) -> Vec<bool> {
    let place = placing(strokes, thickness);
    let strokes: Vec<Vec<Point>> = strokes
        .iter()
        .map(|stroke| stroke.iter().map(|&point| place(point)).collect())
        .collect();
    let reach = 0.25 * thickness * thickness;
    let is_black = |index: usize| {
        let pixel = [(index % FINE) as f32 + 0.5, (index / FINE) as f32 + 0.5];
        strokes.iter().any(|stroke| is_near(stroke, pixel, reach))
    };
    (0..FINE * FINE).map(is_black).collect()
}

/// From the pad to the bitmap, with room for the lines' thickness.
fn placing(strokes: &[Vec<Point>], thickness: f32) -> impl Fn(Point) -> Point {
    let side = |axis: usize| {
        let numbers = strokes.iter().flatten().map(|point| point[axis]);
        let low = numbers.clone().fold(f32::INFINITY, f32::min);
        let high = numbers.fold(f32::NEG_INFINITY, f32::max);
        (0.5 * (low + high), (high - low).max(LEAST_SIDE))
    };
    let sides = [side(0), side(1)];
    let fit = [
        (WIDTH - thickness) / sides[0].1,
        (HEIGHT - thickness) / sides[1].1,
    ];
    let scale = [
        fit[0].min(MOST_STRETCH * fit[1]),
        fit[1].min(MOST_STRETCH * fit[0]),
    ];
    move |point| [0, 1].map(|axis| 0.5 * FINE as f32 + (point[axis] - sides[axis].0) * scale[axis])
}

/// Whether a square distance from a stroke is within reach.
fn is_near(stroke: &[Point], pixel: Point, reach: f32) -> bool {
    let square = |a: Point, b: Point| (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2);
    let near = |pair: &[Point]| {
        let [from, to] = [pair[0], pair[1]];
        let along = [to[0] - from[0], to[1] - from[1]];
        let length = along[0] * along[0] + along[1] * along[1];
        let dot = (pixel[0] - from[0]) * along[0] + (pixel[1] - from[1]) * along[1];
        let part = match length > 0.0 {
            true => (dot / length).clamp(0.0, 1.0),
            false => 0.0,
        };
        let nearest = [from[0] + part * along[0], from[1] + part * along[1]];
        square(nearest, pixel) <= reach
    };
    match stroke {
        [dot] => square(*dot, pixel) <= reach,
        _ => stroke.windows(2).any(near),
    }
}
