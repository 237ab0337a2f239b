// Draws each figure from the JSON beside it, in the colours of the style sheet.
const colour = (name) => {
  const style = getComputedStyle(document.documentElement);
  return (style.getPropertyValue(`--${name}`) || style.getPropertyValue("--other")).trim();
};

const draw = (figure) => {
  const { data, layout } = JSON.parse(figure.querySelector("script").textContent);
  const axis = { gridcolor: colour("line"), linecolor: colour("line"), zeroline: false, fixedrange: true };
  const traces = data.map((trace) => ({
    ...trace,
    line: { ...trace.line, color: colour(trace.meta) },
    marker: { ...trace.marker, color: colour(trace.meta) },
    textfont: { color: colour("ink") },
  }));
  const page = getComputedStyle(document.body);
  const plot = figure.querySelector(".plot");
  const drawn = matchMedia("print").matches && plot._fullLayout;
  Plotly.react(plot, traces, {
    ...layout,
    ...(drawn && { width: drawn.width, height: drawn.height }),
    xaxis: { ...axis, ...layout.xaxis },
    yaxis: { ...axis, ...layout.yaxis },
    font: { family: page.fontFamily, size: 12, color: colour("soft") },
    hoverlabel: { bgcolor: colour("card"), bordercolor: colour("line"), font: { color: colour("ink") } },
    paper_bgcolor: "transparent",
    plot_bgcolor: "transparent",
    margin: { l: 44, r: 12, t: 12, b: 44, ...layout.margin },
    showlegend: false,
  }, { displayModeBar: false, responsive: true });
  scalable(plot); // at once: a print does not wait for events
};

// Paper is narrower than the screen that a plot was drawn for: there the style sheet scales it.
const scalable = (plot) => {
  const { width, height } = plot._fullLayout;
  plot.style.aspectRatio = `${width} / ${height}`;
  plot.querySelectorAll(".main-svg").forEach((svg) => svg.setAttribute("viewBox", `0 0 ${width} ${height}`));
};

const drawAll = () => document.querySelectorAll("figure").forEach(draw);

document.querySelectorAll("[data-target]").forEach((item) => {
  item.style.setProperty("--swatch", `var(--${item.dataset.target}, var(--other))`);
});
drawAll();
document.querySelectorAll(".plot").forEach((plot) => plot.on("plotly_afterplot", () => scalable(plot)));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
