"use strict";
(() => {
  const cells = JSON.parse(document.getElementById("cells").textContent);
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
})();
