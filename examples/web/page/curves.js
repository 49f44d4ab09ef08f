// The value over steps.

import { Plot } from "./plot.js";
import { look } from "./theme.js";

// What f32 makes of zero is noise.
const FLOOR = 1e-12;

// What the curves show of a value: how far it is above the lowest minimum, where there is one.
export function height(entry, value) {
  return entry.lowest === null || Number.isNaN(value) ? value : Math.max(value - entry.lowest, FLOOR);
}

export function drawCurves(canvas, theme, entry, relief, race, shown, steps) {
  const plot = new Plot(canvas, theme, { low: 0, high: Math.max(steps, 1), label: "step" }, scale(entry, relief, race));
  plot.axes(true);
  plot.inside(() => {
    race.paths.forEach((path, index) => {
      const point = (i) => [i, height(entry, path.value[i])];
      plot.line(Math.min(shown + 1, path.x.length), point, look(index, theme));
    });
  });
}

// Of all steps, so that it stays while they are played.
function scale(entry, relief, race) {
  if (entry.lowest === null) {
    const margin = 0.05 * (relief.high - relief.low);
    return { low: relief.low - margin, high: relief.high + margin, label: "value" };
  }
  // What flies off must not flatten all others.
  let [low, top] = [Infinity, FLOOR];
  for (const path of race.paths) {
    for (const value of path.value) {
      if (!Number.isFinite(value)) continue;
      const above = height(entry, value);
      low = Math.min(low, above);
      top = Math.max(top, above);
    }
  }
  const high = Math.min(top, relief.high - entry.lowest) * 2;
  low = Math.min(low, high / 100) * 0.5;
  return { low, high, label: "value above the minimum", isLog: true };
}
