"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const specs = read("specs"), options = read("options");
  const charts = [...document.querySelectorAll("[data-chart]")];

  const PHONE = 560;

  // As many panels per row as fit, always a divisor of the printed number, so that rows keep their meaning;
  // the panels then share out the width that is there. On a phone they stand in one row, to be swiped through,
  // of which the next panel shows its edge.
  const fitted = (spec, width) => {
    const copy = structuredClone(spec), gap = 26, axes = 68, phone = width < PHONE, edge = 34;
    if (phone && copy.concat.length > 1) {
      const panel = width - axes - edge;
      for (const one of copy.concat) {
        one.height = one.height === one.width ? panel : Math.min(one.height, 190);
        one.width = panel;
      }
      copy.columns = copy.concat.length;
      copy.config.legend.columns = 4;
      return copy;
    }
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
    copy.config.legend.columns = phone ? 4 : undefined;
    return copy;
  };

  // Where swiping comes to rest: at the left edge of each panel.
  const stops = (element) => {
    element.querySelectorAll(".stop").forEach((one) => one.remove());
    const from = element.getBoundingClientRect().left - element.scrollLeft;
    for (const panel of element.querySelectorAll(".root > g > g > .role-scope")) {
      const stop = document.createElement("i");
      stop.className = "stop";
      stop.style.left = `${panel.getBoundingClientRect().left - from}px`;
      element.append(stop);
    }
  };

  // Charts in closed parts of the page are drawn too, after the others, for the width of their section.
  const draw = async () => {
    const closed = (element) => element.closest("details:not([open])") !== null;
    for (const element of [...charts].sort((one, other) => closed(one) - closed(other))) {
      const width = element.closest("section").clientWidth;
      const spec = fitted(specs[element.dataset.chart], width);
      if (element.dataset.columns === `${spec.columns}/${spec.concat[0].width}`) continue;
      try {
        await vegaEmbed(element, spec, options);
        // words on the right of a panel may reach past the width: the panels then leave room for them
        const past = element.querySelector("svg").width.baseVal.value - width;
        if (past > 0 && past < 80 && width >= PHONE) {
          await vegaEmbed(element, fitted(specs[element.dataset.chart], width - past - spec.columns), options);
        }
        element.dataset.columns = `${spec.columns}/${spec.concat[0].width}`;
        element.dataset.drawn = "yes";
        stops(element);
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
  // The legend stays in sight while panels are swiped through.
  for (const element of charts) {
    const swiped = () => element.style.setProperty("--swiped", `${element.scrollLeft}px`);
    element.addEventListener("scroll", swiped, { passive: true });
  }
  // A hint above what is wider than its place, also once a closed part of the page is opened.
  const hint = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      target.toggleAttribute("data-wide", target.scrollWidth > target.clientWidth + 1);
      if (target.dataset.drawn) stops(target);
    }
  });
  document.querySelectorAll(".scroll, .chart").forEach((one) => hint.observe(one));
})();
