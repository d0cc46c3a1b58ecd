"use strict";
// Turns the scenes of a page: by dragging, by the arrow keys and by the buttons under each of them.
const STEP = 10, SIZE = 380, CROSS = 5, NEAR = 8, SHARE = 0.4;
const NAMESPACE = "http://www.w3.org/2000/svg";

for (const figure of document.querySelectorAll("figure.space")) {
  const space = figure.querySelector("svg");
  const start = {azimuth: Number(space.dataset.azimuth), elevation: Number(space.dataset.elevation), zoom: 1, centre: [0, 0, 0]};
  const view = {...start};
  const shapes = JSON.parse(space.dataset.shapes).map(([kind, text, points]) => {
    const line = space.appendChild(document.createElementNS(NAMESPACE, "path"));
    line.setAttribute("class", kind);
    const label = text ? space.appendChild(document.createElementNS(NAMESPACE, "text")) : null;
    if (label) {
      label.setAttribute("class", kind);
      label.textContent = text;
    }
    return {kind, points, line, label};
  });

  // x to the right and y upwards of who stands in front of the surface, which z leaves; degrees
  function draw() {
    const phi = view.azimuth * Math.PI / 180, theta = view.elevation * Math.PI / 180;
    const right = [Math.cos(phi), 0, -Math.sin(phi)];
    const up = [-Math.sin(phi) * Math.sin(theta), Math.cos(theta), -Math.cos(phi) * Math.sin(theta)];
    const along = (axis, p) => SIZE * view.zoom * axis.reduce((sum, part, i) => sum + part * (p[i] - view.centre[i]), 0);
    for (const {kind, points, line, label} of shapes) {
      const drawn = points.map((p) => [along(right, p).toFixed(1), (-along(up, p)).toFixed(1)]);
      const marks = {
        element: (x, y) => `M${x} ${y}h0`,
        located: (x, y) => `M${x} ${y}h0`,
        rival: (x, y) => `M${x} ${y}m${-CROSS} 0a${CROSS} ${CROSS} 0 1 0 ${2 * CROSS} 0a${CROSS} ${CROSS} 0 1 0 ${-2 * CROSS} 0`,
        true: (x, y) => `M${x} ${y}m${-CROSS} ${-CROSS}l${2 * CROSS} ${2 * CROSS}m0 ${-2 * CROSS}l${-2 * CROSS} ${2 * CROSS}`,
      };
      const mark = marks[kind];
      line.setAttribute("d", mark ? drawn.map((p) => mark(...p)).join("") : "M" + drawn.map((p) => p.join(" ")).join("L"));
      if (label) {
        const [x, y] = drawn[drawn.length - 1];
        label.setAttribute("x", Number(x) + 9);
        label.setAttribute("y", Number(y) + 4);
      }
    }
  }

  function turn(azimuth, elevation, zoom) {
    view.azimuth += azimuth;
    view.elevation = Math.max(-90, Math.min(90, view.elevation + elevation));
    view.zoom = Math.max(0.5, Math.min(10000, view.zoom * zoom));
    draw();
  }

  const actions = {
    ArrowLeft: () => turn(STEP, 0, 1),
    ArrowRight: () => turn(-STEP, 0, 1),
    ArrowUp: () => turn(0, -STEP, 1),
    ArrowDown: () => turn(0, STEP, 1),
    "+": () => turn(0, 0, 1.25),
    "-": () => turn(0, 0, 0.8),
    Home: () => { Object.assign(view, start); draw(); },
  };
  let spread = [], number = 0;
  for (const {kind, points} of shapes) {
    if (kind === "spread") spread.push(...points);
    if (kind === "located") {
      const [centre] = points;
      const size = Math.max(...spread.map((p) => Math.hypot(...p.map((part, i) => part - centre[i]))));
      const near = spread.length ? Math.max(1, SHARE / size) : NEAR;
      actions[number++] = () => { Object.assign(view, {centre, zoom: near}); draw(); };
      spread = [];
    }
  }
  space.addEventListener("keydown", (event) => {
    if (actions[event.key] && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      actions[event.key]();
    }
  });
  for (const button of figure.querySelectorAll("button")) {
    button.addEventListener("click", actions[button.dataset.key]);
  }
  space.addEventListener("pointerdown", (event) => space.setPointerCapture(event.pointerId));
  space.addEventListener("pointermove", (event) => {
    if (space.hasPointerCapture(event.pointerId)) {
      turn(-event.movementX / 3, event.movementY / 3, 1);
    }
  });
  draw();
}
