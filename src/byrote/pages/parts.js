"use strict";
(() => {
  // Long tables of checks open one by one alone.
  const closed = (place) => [...place.querySelectorAll("details:not([open], .checks)")];

  // The target of an address, and what the page opens for it.
  const openTarget = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    for (let one = target; one; one = one.parentElement) if (one.tagName === "DETAILS") one.open = true;
  };
  addEventListener("hashchange", openTarget);
  openTarget();

  // A button opens all parts of its section; where all are open it closes them.
  for (const button of document.querySelectorAll("button[data-opens]")) {
    const place = document.getElementById(button.dataset.opens), words = button.textContent;
    const name = () => { button.textContent = closed(place).length ? words : words.replace("Open", "Close"); };
    button.hidden = false;
    button.addEventListener("click", () => {
      const open = closed(place).length > 0;
      for (const one of place.querySelectorAll("details:not(.checks)")) one.open = open;
    });
    place.addEventListener("toggle", name, true);
    name();
  }

  // On paper nothing can be opened.
  let printed = [];
  addEventListener("beforeprint", () => {
    printed = closed(document);
    for (const one of printed) one.open = true;
  });
  addEventListener("afterprint", () => {
    for (const one of printed) one.open = false;
  });
})();
