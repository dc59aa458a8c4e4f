"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const specs = read("specs"), options = read("options"), cells = read("cells");
  const charts = [...document.querySelectorAll("[data-chart]")];

  // As many panels a row as fit, always a divisor of the printed number, so that rows keep their meaning;
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
  addEventListener("beforeprint", () => document.querySelectorAll("details:not(.verdict)").forEach((one) => { one.open = true; }));

  const form = document.getElementById("picker");
  if (form && cells.length) {
    const fields = ["part", "setting", "loss", "rate", "seed"].map((name) => form.elements[name]);
    const fill = (select, values) => {
      const kept = select.value;
      select.replaceChildren(...values.map((value) => new Option(value, value)));
      if (values.includes(kept)) select.value = kept;
    };
    const unique = (values) => [...new Set(values.map(String))];
    const update = () => {
      let left = cells;
      for (const select of fields.slice(0, 4)) {
        fill(select, unique(left.map((cell) => cell[select.name])));
        left = left.filter((cell) => String(cell[select.name]) === select.value);
      }
      fill(fields[4], Object.keys(left[0].runs));
      const run = left[0].runs[fields[4].value];
      document.getElementById("command").textContent = Object.entries(run).reduce((text, [name, value]) => text.replaceAll(name, value), left[0].command).trim();
    };
    form.addEventListener("change", update);
    update();
    form.hidden = false;
    const copy = document.getElementById("copy");
    if (navigator.clipboard) {
      copy.hidden = false;
      copy.addEventListener("click", async () => {
        await navigator.clipboard.writeText(document.getElementById("command").textContent);
        copy.textContent = "Copied";
        setTimeout(() => { copy.textContent = "Copy"; }, 1500);
      });
    }
  }
  const openTarget = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    if (target && target.tagName === "DETAILS") target.open = true;
  };
  addEventListener("hashchange", openTarget);
  openTarget();
})();
