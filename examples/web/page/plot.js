// A canvas with axes, sharp on any screen.

const FONT = "13px system-ui, sans-serif";
const LEFT = 62, RIGHT = 16, TOP = 12, BOTTOM = 44;
// Canvases take no coordinates of any size.
const FAR = 1e5;

export class Plot {
  // Axes: { low, high, label, isLog }.
  constructor(canvas, theme, x, y) {
    const ratio = window.devicePixelRatio || 1;
    const box = canvas.getBoundingClientRect();
    const [width, height] = [Math.round(box.width * ratio), Math.round(box.height * ratio)];
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    this.context = canvas.getContext("2d");
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.context.clearRect(0, 0, box.width, box.height);
    this.ratio = ratio;
    this.theme = theme;
    this.x = axis(x);
    this.y = axis(y);
    this.rect = { left: LEFT, top: TOP, width: Math.max(box.width - LEFT - RIGHT, 1), height: Math.max(box.height - TOP - BOTTOM, 1) };
  }

  place(x, y) {
    const { left, top, width, height } = this.rect;
    const within = (number) => Math.max(-FAR, Math.min(FAR, number));
    return [within(left + width * this.x.part(x)), within(top + height * (1 - this.y.part(y)))];
  }

  // Values at a place of the canvas.
  at(left, top) {
    const { rect } = this;
    return [this.x.value((left - rect.left) / rect.width), this.y.value(1 - (top - rect.top) / rect.height)];
  }

  axes(hasGrid) {
    const { context, theme, rect } = this;
    const [right, bottom] = [rect.left + rect.width, rect.top + rect.height];
    context.font = FONT;
    context.lineWidth = 1;
    context.setLineDash([]);
    for (const tick of this.x.ticks(Math.max(2, rect.width / 55))) {
      const [x] = this.place(tick, 0);
      this.rule(x, hasGrid ? rect.top : bottom, x, bottom + 4);
      this.text(text(tick), x, bottom + 16, "center");
    }
    for (const tick of this.y.ticks(Math.max(2, rect.height / 45))) {
      const [, y] = this.place(0, tick);
      this.rule(rect.left - 4, y, hasGrid ? right : rect.left, y);
      this.text(this.y.isLog ? power(tick) : text(tick), rect.left - 8, y, "right");
    }
    context.strokeStyle = theme.faint;
    context.strokeRect(rect.left + 0.5, rect.top + 0.5, rect.width - 1, rect.height - 1);
    this.text(this.x.label, rect.left + rect.width / 2, bottom + 34, "center");
    if (this.y.label) {
      context.save();
      context.translate(9, rect.top + rect.height / 2);
      context.rotate(-Math.PI / 2);
      this.text(this.y.label, 0, 0, "center");
      context.restore();
    }
  }

  rule(x0, y0, x1, y1) {
    const { context } = this;
    context.strokeStyle = this.theme.ruled;
    context.beginPath();
    context.moveTo(x0, y0);
    context.lineTo(x1, y1);
    context.stroke();
  }

  text(words, x, y, align) {
    const { context } = this;
    context.fillStyle = this.theme.faint;
    context.textAlign = align;
    context.textBaseline = "middle";
    context.fillText(words, x, y);
  }

  // Draws within the frame.
  inside(draw) {
    const { context, rect } = this;
    context.save();
    context.beginPath();
    context.rect(rect.left, rect.top, rect.width, rect.height);
    context.clip();
    draw(context);
    context.restore();
  }

  // A line through the first `count` places that `point(i)` gives; what is no number leaves a gap.
  line(count, point, look, width = 2) {
    const { context } = this;
    context.strokeStyle = look.colour;
    context.lineWidth = width;
    context.lineJoin = "round";
    context.setLineDash(look.dash);
    context.beginPath();
    let last = null;
    for (let i = 0; i < count; i++) {
      const [a, b] = point(i);
      if (!Number.isFinite(a) || !Number.isFinite(b)) {
        last = null;
        continue;
      }
      const [x, y] = this.place(a, b);
      if (last === null) context.moveTo(x, y);
      // What is not to be seen is not drawn.
      else if (Math.hypot(x - last[0], y - last[1]) < 0.4 && i < count - 1) continue;
      else context.lineTo(x, y);
      last = [x, y];
    }
    context.stroke();
    context.setLineDash([]);
  }
}

function axis({ low, high, label, isLog = false }) {
  const scale = isLog ? (value) => Math.log10(Math.max(value, 1e-300)) : (value) => value;
  const [from, to] = [scale(low), scale(high)];
  return {
    label,
    isLog,
    part: (value) => (scale(value) - from) / (to - from),
    value: (part) => (isLog ? 10 ** (from + part * (to - from)) : from + part * (to - from)),
    ticks: (most) => (isLog ? powers(from, to, most) : round(from, to, most)),
  };
}

function round(from, to, most) {
  const rough = (to - from) / most;
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * size).find((step) => step >= rough);
  const ticks = [];
  for (let i = Math.ceil(from / step - 1e-9); i * step <= to + 1e-9 * step; i++) ticks.push(i * step);
  return ticks;
}

function powers(from, to, most) {
  const every = Math.max(1, Math.ceil((to - from) / most));
  const ticks = [];
  for (let i = Math.ceil(from / every) * every; i <= to; i += every) ticks.push(10 ** i);
  return ticks;
}

const minus = (words) => words.replace(/-/g, "−");

// A number of a tick, without the noise of its last bits.
function text(number) {
  const short = Number(number.toPrecision(6));
  return minus(Math.abs(short) >= 1e6 ? short.toExponential() : String(short));
}

function power(number) {
  const exponent = Math.round(Math.log10(number));
  const raised = String(exponent).replace(/-/g, "⁻").replace(/\d/g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]);
  return exponent === 0 ? "1" : exponent === 1 ? "10" : `10${raised}`;
}

// No more digits than say something: 0.25, 1200, 3.1e−5.
export function significant(number, digits) {
  if (!Number.isFinite(number)) return "no number";
  if (number === 0) return "0";
  const size = Math.abs(number);
  const short = Number(number.toPrecision(digits));
  return minus(size >= 1e6 || size < 1e-3 ? short.toExponential() : String(short));
}
