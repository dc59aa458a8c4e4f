"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const specs = read("specs"), options = read("options");
  const charts = [...document.querySelectorAll("[data-chart]")];

  // As many panels per row as fit, always a divisor of the printed number, so that rows keep their meaning;
  // the panels then share out the width that is there.
  const fitted = (spec, width) => {
    const copy = structuredClone(spec), gap = 26, axes = 68;
    const share = (columns) => Math.floor((width - (columns - 1) * gap) / columns - axes);
    const printed = copy.concat[0].width;
    let columns = Math.min(copy.columns, copy.concat.length);
    while (columns > 1 && (copy.columns % columns || share(columns) < 0.8 * printed)) columns -= 1;
    const panel = Math.max(150, Math.min(share(columns), Math.round(1.3 * printed)));
    for (const one of copy.concat) {
      if (one.height === one.width) one.height = panel;
      one.width = panel;
    }
    copy.columns = columns;
    copy.config.legend.columns = width < 560 ? 4 : undefined;
    return copy;
  };

  const draw = async () => {
    for (const element of charts) {
      const spec = fitted(specs[element.dataset.chart], element.clientWidth);
      if (element.dataset.columns === `${spec.columns}/${spec.concat[0].width}`) continue;
      try {
        await vegaEmbed(element, spec, options);
        element.dataset.columns = `${spec.columns}/${spec.concat[0].width}`;
        element.dataset.drawn = "yes";
      } catch (error) {
        element.textContent = `This chart could not be drawn: ${error.message}`;
        console.error(error);
      }
      await new Promise((resume) => setTimeout(resume));
    }
    document.documentElement.dataset.drawn = "yes";
  };
  let busy = draw(), timer = 0;
  addEventListener("resize", () => {
    clearTimeout(timer);
    timer = setTimeout(() => { busy = busy.then(draw); }, 250);
  });
  // Vega-Lite keeps a loss singled out: a double click draws the chart anew, with all losses.
  for (const element of charts) {
    element.addEventListener("dblclick", () => {
      delete element.dataset.columns;
      busy = busy.then(draw);
    });
  }
  // A hint above what is wider than its place, also once a closed part of the page is opened.
  const hint = new ResizeObserver((entries) => {
    for (const { target } of entries) target.toggleAttribute("data-wide", target.scrollWidth > target.clientWidth + 1);
  });
  document.querySelectorAll(".scroll, .chart").forEach((one) => hint.observe(one));
  addEventListener("beforeprint", () => document.querySelectorAll("details:not(.verdict)").forEach((one) => { one.open = true; }));

  const openTarget = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    for (let one = target; one; one = one.parentElement) if (one.tagName === "DETAILS") one.open = true;
  };
  addEventListener("hashchange", openTarget);
  openTarget();
})();
