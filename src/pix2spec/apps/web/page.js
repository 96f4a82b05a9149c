// Rest-frame lines over the spectrum, drawn and moved in the browser: the redshift slider asks no server.
(() => {
  const ROOM = 14; // pixels from one upright label to the next
  const LIFT = 22; // pixels from the top of the axes to a label
  const BELOW_TICKS = 0.93; // share of the axes' height below the numbers of the rest-frame axis

  // Positions nearest to `wanted` (sorted) that are ROOM apart: isotonic regression, as pix2spec.products.spectrum_panel.spread.
  function spread(wanted) {
    const blocks = [];
    wanted.forEach((value, i) => {
      blocks.push([value - i * ROOM, 1]);
      while (blocks.length > 1 && blocks.at(-2)[0] > blocks.at(-1)[0]) {
        const [b, n] = blocks.pop();
        const [a, m] = blocks.pop();
        blocks.push([(m * a + n * b) / (m + n), m + n]);
      }
    });
    return blocks.flatMap(([mean, size]) => Array(size).fill(mean)).map((value, i) => value + i * ROOM);
  }

  function draw(plot) {
    const { lines, z } = plot.layout.meta;
    const axis = plot._fullLayout.xaxis;
    const [start, end] = axis.range;
    const inside = lines
      .map(([name, rest, colour]) => ({ name, colour, x: rest * (1 + z) }))
      .filter(({ x }) => start < x && x < end);
    const state = [z, start, end, axis._length].join();
    if (plot.linesState === state && (plot.layout.shapes || []).length === inside.length) return;
    plot.linesState = state;
    const pixels = inside.map(({ x }) => ((x - start) / (end - start)) * axis._length);
    const places = spread(pixels);
    const shapes = inside.map(({ x, colour }) => ({
      type: "line", x0: x, x1: x, y0: 0, y1: BELOW_TICKS, yref: "paper", layer: "below",
      line: { color: colour, width: 1, dash: "dot" },
    }));
    const annotations = inside.map(({ name, x, colour }, i) => ({
      text: name, x, y: 1, yref: "paper", ax: places[i] - pixels[i], ay: -LIFT, textangle: -90,
      font: { size: 11, color: colour }, arrowhead: 0, arrowwidth: 0.7, arrowcolor: colour,
      yanchor: "bottom", standoff: 0,
    }));
    // A finger that drags over the plot scrolls the page.
    const dragmode = window.matchMedia("(pointer: coarse)").matches ? false : "zoom";
    const rest = [start / (1 + z), end / (1 + z)];
    const height = plot.clientWidth < 500 ? 620 : 520; // the legend of a narrow figure has many lines
    window.Plotly.relayout(plot, { shapes, annotations, dragmode, height, "xaxis3.range": rest });
  }

  function attach() {
    document.querySelector("#message")?.setAttribute("aria-live", "polite");
    const plot = document.querySelector("#spectrum .js-plotly-plot");
    if (!plot || !plot.on || plot.linesFollow || !plot.layout?.meta?.lines) return;
    plot.linesFollow = true;
    plot.setAttribute("role", "img");
    const fresh = () => {
      if (!plot.layout?.meta?.lines) return;
      plot.setAttribute("aria-label", plot.layout.meta.alt);
      draw(plot);
    };
    plot.on("plotly_afterplot", fresh);
    fresh();
  }

  window.pix2specMoveLines = (z) => {
    const plot = document.querySelector("#spectrum .js-plotly-plot");
    if (!plot?.layout?.meta || !Number.isFinite(z)) return;
    plot.layout.meta.z = z;
    draw(plot);
  };
  new MutationObserver(attach).observe(document.documentElement, { childList: true, subtree: true });
})();
