// A race: what the wasm hands over as it goes, and what of it is shown.

// Of playing all steps.
const SECONDS = 3;

export class Race {
  constructor(count) {
    this.paths = Array.from({ length: count }, () => ({ x: [], y: [], value: [] }));
  }

  // The last step that there is, or −1.
  get last() {
    return (this.paths[0]?.x.length ?? 0) - 1;
  }

  // Steps as Course.race hands them over.
  add(numbers) {
    const size = 1 + 3 * this.paths.length;
    for (let at = 0; at < numbers.length; at += size) {
      this.paths.forEach((path, index) => {
        const from = at + 1 + 3 * index;
        path.x.push(numbers[from]);
        path.y.push(numbers[from + 1]);
        path.value.push(numbers[from + 2]);
      });
    }
  }
}

// Runs one race at a time: a new one ends the one before.
export class Runner {
  #number = 0;

  // Ends the race that goes on.
  stop() {
    this.#number += 1;
  }

  // `heard(race)` after each part. The race at its end; null if another took its place.
  async run(course, setting, heard) {
    const number = ++this.#number;
    const race = new Race(setting.rules.length);
    const observe = async (numbers) => {
      if (number !== this.#number) return false;
      race.add(numbers);
      heard(race);
      // The page's turn.
      await new Promise((resume) => setTimeout(resume));
      return number === this.#number;
    };
    try {
      await course.race(JSON.stringify(setting), observe);
    } catch (error) {
      if (number === this.#number) throw error;
    }
    return number === this.#number ? race : null;
  }
}

// Shows step after step, as far as there are any.
export class Playback {
  #frame = null;

  constructor(show) {
    this.show = show;
    this.step = 0;
    this.race = null;
    this.steps = 1;
  }

  get isPlaying() {
    return this.#frame !== null;
  }

  play(race, steps) {
    this.stop();
    Object.assign(this, { race, steps, step: 0 });
    let before = performance.now();
    const turn = (now) => {
      const wanted = this.step + (steps * (now - before)) / (1000 * SECONDS);
      before = now;
      this.step = Math.min(wanted, Math.max(race.last, 0));
      this.#frame = this.step >= steps ? null : requestAnimationFrame(turn);
      this.show();
    };
    this.#frame = requestAnimationFrame(turn);
  }

  // At a step, without playing.
  hold(race, steps, step) {
    this.stop();
    Object.assign(this, { race, steps, step });
    this.show();
  }

  stop() {
    if (this.#frame !== null) cancelAnimationFrame(this.#frame);
    this.#frame = null;
  }
}
