// A line plot of the last two minutes.
const POINTS = 120;
const [WIDTH, HEIGHT] = [120, 28];
const element = (name) => document.createElementNS("http://www.w3.org/2000/svg", name);

export class Plot {
  #values = [];
  #area = element("path");
  #line = element("path");

  constructor(svg) {
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    svg.setAttribute("preserveAspectRatio", "none");
    this.#area.setAttribute("class", "area");
    this.#line.setAttribute("class", "line");
    svg.replaceChildren(this.#area, this.#line);
    this.svg = svg;
  }

  /** Add the value of this second; `text` is the plot's label for screen readers. */
  add(value, text) {
    this.#values = [...this.#values, value].slice(-POINTS);
    const top = Math.max(...this.#values, 1);
    const from = WIDTH - (this.#values.length - 1);
    const points = this.#values.map((each, i) => `${from + i},${(HEIGHT - 1.5 - (each / top) * (HEIGHT - 4)).toFixed(1)}`);
    this.#line.setAttribute("d", `M${points.join("L")}`);
    this.#area.setAttribute("d", `M${from},${HEIGHT}L${points.join("L")}L${WIDTH},${HEIGHT}Z`);
    this.svg.setAttribute("aria-label", text);
  }
}
