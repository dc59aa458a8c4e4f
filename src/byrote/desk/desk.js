"use strict";
(() => {
  const desk = () => document.querySelector("[data-place]");
  const seen = () => [...document.querySelectorAll(".stage img")].every((image) => image.complete);
  const say = (said) => {
    const at = desk();
    if (at && (seen() || said === "undo")) emitEvent("said", { place: Number(at.dataset.place), said });
  };
  const chosen = () => {
    const field = document.querySelector("#class");
    if (field && field.value) say(`class:${field.value}`);
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-said]");
    if (button) say(button.dataset.said);
    if (event.target.closest("#choose")) chosen();
  });
  document.addEventListener("keydown", (event) => {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    const field = event.target.closest("select");
    if (field) {
      if (event.key === "Enter") { event.preventDefault(); chosen(); }
      if (event.key === "Escape") field.blur();
      return;
    }
    if (event.key === "c" && document.querySelector("#class")) {
      event.preventDefault();
      document.querySelector("#class").focus();
      return;
    }
    const key = event.key === "Backspace" ? "z" : event.key;
    const button = document.querySelector(`[data-key="${CSS.escape(key)}"]`);
    if (button && !(event.key === "Enter" && event.target.closest("button"))) {
      event.preventDefault();
      button.click();
    }
  });
})();
