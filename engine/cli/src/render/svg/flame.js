// Zoom and search for a flame graph. Names come out of attributes and go into texts, never into markup.
(function () {
  "use strict";
  var svg = document.currentScript.parentNode, left = +svg.dataset.left, width = +svg.dataset.width, char = +svg.dataset.char;
  var frames = Array.prototype.map.call(svg.querySelectorAll("g.frame"), function (g) {
    return { g: g, at: +g.dataset.at, fuel: +g.dataset.fuel, row: +g.dataset.row, name: g.dataset.name,
      rect: g.querySelector("rect"), text: g.querySelector("text") };
  });
  var whole = frames[0], reset = svg.querySelector(".reset"), search = svg.querySelector(".search"), found = svg.querySelector(".found");

  function fit(name, room) {
    var characters = Array.from(name), most = Math.floor((room - 6) / char);
    if (characters.length <= most) return name;
    return most < 3 ? "" : characters.slice(0, most - 2).join("") + "..";
  }

  function zoom(to) {
    var end = to.at + to.fuel;
    frames.forEach(function (f) {
      var above = f.at <= to.at && f.at + f.fuel >= end && f.row < to.row;
      var inside = f.at >= to.at && f.at + f.fuel <= end && f.row >= to.row;
      f.g.style.display = above || inside ? "" : "none";
      f.g.classList.toggle("below", above);
      var x = above ? 0 : (f.at - to.at) / to.fuel * width, wide = above ? width : f.fuel / to.fuel * width;
      f.rect.setAttribute("x", left + x);
      f.rect.setAttribute("width", wide);
      f.text.setAttribute("x", left + x + 3);
      f.text.textContent = fit(f.name, wide);
    });
    reset.style.display = to === whole ? "none" : "";
  }

  function mark(part) {
    var wanted = part.toLowerCase(), fuel = 0, end = 0;
    frames.forEach(function (f) {
      var hit = wanted !== "" && f.name.toLowerCase().indexOf(wanted) >= 0;
      f.g.classList.toggle("hit", hit);
      // Frames stand in the order of their beginnings, callers first: what is inside of a hit counts already.
      if (hit && f.at >= end) { fuel += f.fuel; end = f.at + f.fuel; }
    });
    found.textContent = wanted === "" ? "" : "found in " + (100 * fuel / whole.fuel).toFixed(1) + " % of the fuel";
  }

  function ask() {
    var part = window.prompt("Part of a function's name (nothing: no search)", "");
    if (part !== null) mark(part);
  }

  function on(element, act) {
    element.addEventListener("click", act);
    element.addEventListener("keydown", function (event) { if (event.key === "Enter") act(); });
  }

  frames.forEach(function (f) {
    f.g.setAttribute("tabindex", "0");
    on(f.g, function () { zoom(f); });
  });
  on(reset, function () { zoom(whole); });
  on(search, ask);
  search.style.display = "";
  document.addEventListener("keydown", function (event) {
    if (event.key === "Escape") { zoom(whole); mark(""); }
    if (event.key === "/" && !event.ctrlKey && !event.metaKey) { event.preventDefault(); ask(); }
  });
})();
