// Colours of the page as it is now, light or dark, and how each rule looks.

const dark = matchMedia("(prefers-color-scheme: dark)");

export const onThemeChange = (redraw) => dark.addEventListener("change", redraw);

export function theme(catalog) {
  const shades = dark.matches ? catalog.colours.dark : catalog.colours.light;
  const style = getComputedStyle(document.documentElement);
  const named = (name) => style.getPropertyValue(name).trim();
  return {
    ...shades,
    paper: named("--paper"),
    ink: named("--ink"),
    faint: named("--faint"),
    ruled: named("--ruled"),
  };
}

// From the ninth rule on colours come again, with dashes.
const DASHES = [[], [7, 4], [2, 4], [9, 3, 2, 3]];

export function look(index, theme) {
  const count = theme.series.length;
  return {
    colour: theme.series[index % count],
    dash: DASHES[Math.floor(index / count) % DASHES.length],
    corners: [0, 4, 3, 5][index % 4],
  };
}

// A piece of a rule's line with its mark, for lists and tables.
export function sample(look) {
  const points = shape(look.corners, 14, 8, 5).map((at) => at.join(",")).join(" ");
  const mark = look.corners === 0 ? `<circle cx="14" cy="8" r="4.5"/>` : `<polygon points="${points}"/>`;
  return `<svg width="28" height="16" aria-hidden="true" fill="${look.colour}"><line x1="0" x2="28" y1="8" y2="8"
    stroke="${look.colour}" stroke-width="3" stroke-dasharray="${look.dash.join(" ")}"/>${mark}</svg>`;
}

// The corners of a regular shape that stands on its tip.
export function shape(corners, x, y, radius) {
  const turns = Array.from({ length: corners }, (_, i) => (2 * Math.PI * i) / corners - Math.PI / 2);
  return turns.map((turn) => [x + radius * Math.cos(turn), y + radius * Math.sin(turn)]);
}
