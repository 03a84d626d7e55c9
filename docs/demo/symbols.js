// Recognise symbols from one drawing of each. model.js has the network, which maps drawings to
// features, and runtime.js has ONNX Runtime Web. Both are written by build_demo.py.
"use strict";

(() => {
  const SIDE = 28; // pixels of the images that the network has learned from
  const FINE = 10; // pixels of a canvas for each of them
  const PEN = 1.4; // width of their strokes
  const DOT = 1.8; // diameter of a dot, which no position between pixels can hide
  const SIZE = 18; // the longer side of half of them is at least as long
  const LARGEST_ZOOM = 3; // dots stay dots
  const MOST = 12; // symbols
  const FIRST = [131, 54, 93]; // characters that the page begins with

  const root = document.getElementById("symbols");
  const find = (selector) => root.querySelector(selector);
  const make = (name, parent) => parent.appendChild(document.createElement(name));

  // ---- drawings --------------------------------------------------------------------------------

  // A drawing is either strokes, lists of points in units of the network's pixels, or an example.
  class Drawing {
    constructor(element) {
      this.element = element;
      this.canvas = element.querySelector("canvas");
      this.clear();
      let pointer = null;
      this.canvas.addEventListener("pointerdown", (event) => {
        if (pointer !== null || event.button !== 0) return;
        event.preventDefault();
        pointer = event.pointerId;
        this.canvas.setPointerCapture(pointer);
        if (this.example) this.clear();
        this.strokes.push([this.point(event)]);
        this.changed();
      });
      this.canvas.addEventListener("pointermove", (event) => {
        if (event.pointerId !== pointer) return;
        const events = event.getCoalescedEvents?.() ?? [];
        for (const one of events.length ? events : [event]) {
          this.strokes.at(-1).push(this.point(one));
        }
        this.changed();
      });
      for (const end of ["pointerup", "pointercancel"]) {
        this.canvas.addEventListener(end, (event) => {
          if (event.pointerId === pointer) pointer = null;
        });
      }
    }

    point(event) {
      const box = this.canvas.getBoundingClientRect();
      const unit = SIDE / this.canvas.clientWidth;
      return [
        (event.clientX - box.left - this.canvas.clientLeft) * unit,
        (event.clientY - box.top - this.canvas.clientTop) * unit,
      ];
    }

    get empty() {
      return !this.example && !this.strokes.length;
    }

    clear() {
      this.strokes = [];
      this.example = null;
      this.changed();
    }

    // Show an example, whose pixels are SIDE * SIDE zeros (paper) and ones (ink).
    show(example) {
      this.strokes = [];
      this.example = example;
      this.changed();
    }

    changed() {
      this.features = null;
      paint(this.canvas.getContext("2d"), this, 1, [0, 0]);
      update();
    }
  }

  // Draw with a pen of constant width what lies at zoom * point + shift.
  function paint(context, drawing, zoom, shift) {
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, context.canvas.width, context.canvas.height);
    context.setTransform(FINE, 0, 0, FINE, 0, 0);
    drawing.example?.pixels.forEach((ink, i) => {
      if (ink) context.fillRect(i % SIDE, Math.floor(i / SIDE), 1, 1);
    });
    context.lineWidth = PEN;
    context.lineCap = context.lineJoin = "round";
    for (const stroke of drawing.strokes) {
      const points = stroke.map(([x, y]) => [zoom * x + shift[0], zoom * y + shift[1]]);
      context.beginPath();
      if (extent([points]).size < PEN / 2) {
        context.arc(...points[0], DOT / 2, 0, 2 * Math.PI);
        context.fill();
      } else {
        points.forEach((point) => context.lineTo(...point));
        context.stroke();
      }
    }
  }

  // Return the middle and the longer side of the box around strokes.
  function extent(strokes) {
    const low = [Infinity, Infinity], high = [-Infinity, -Infinity];
    for (const point of strokes.flat()) {
      for (const axis of [0, 1]) {
        low[axis] = Math.min(low[axis], point[axis]);
        high[axis] = Math.max(high[axis], point[axis]);
      }
    }
    return {
      middle: low.map((value, axis) => (value + high[axis]) / 2),
      size: Math.max(...high.map((value, axis) => value - low[axis])),
    };
  }

  // ---- from a drawing to the input of the network ----------------------------------------------

  const fine = document.createElement("canvas");
  fine.width = fine.height = SIDE * FINE;
  const fineContext = fine.getContext("2d", { willReadFrequently: true });

  // Return SIDE * SIDE zeros and ones, prepared as the images that the network has learned from:
  // of their usual size, with a pen of their width, in the middle.
  function pixels(drawing) {
    let zoom = 1, shift = [0, 0];
    if (drawing.strokes.length) {
      const { middle, size } = extent(drawing.strokes);
      zoom = Math.min(SIZE / Math.max(size, 1e-3), LARGEST_ZOOM);
      shift = middle.map((value) => SIDE / 2 - zoom * value);
    }
    paint(fineContext, drawing, zoom, shift);
    return centre(reduce(fineContext.getImageData(0, 0, fine.width, fine.height).data));
  }

  // A pixel is ink if at least half of its area is; see load_characters.
  function reduce(rgba) {
    const area = new Float32Array(SIDE * SIDE);
    for (let i = 0; i < rgba.length / 4; i++) {
      const row = Math.floor(i / fine.width / FINE);
      const column = Math.floor((i % fine.width) / FINE);
      area[row * SIDE + column] += rgba[4 * i + 3] / (255 * FINE * FINE);
    }
    return area.map((share) => (share >= 0.5 ? 1 : 0));
  }

  // Move the ink to the middle; centre of make_model.py does the same.
  function centre(image) {
    const rows = [], columns = [];
    image.forEach((ink, i) => {
      if (ink) {
        rows.push(Math.floor(i / SIDE));
        columns.push(i % SIDE);
      }
    });
    const shift = (places) =>
      Math.floor((SIDE - 1 - Math.min(...places) - Math.max(...places)) / 2);
    const down = shift(rows), right = shift(columns);
    const moved = new Float32Array(image.length);
    rows.forEach((row, i) => {
      moved[(row + down) * SIDE + columns[i] + right] = 1;
    });
    return moved;
  }

  // ---- the network -----------------------------------------------------------------------------

  const bytes = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));

  function loadScript(name) {
    return new Promise((resolve, reject) => {
      const script = make("script", document.head);
      script.onload = resolve;
      script.onerror = () => reject(new Error(`${name} could not be loaded`));
      script.src = name;
    });
  }

  async function loadNetwork() {
    await loadScript("runtime.js");
    const { loader, wasm } = symbolsRuntime;
    const unzip = new Blob([bytes(wasm)]).stream().pipeThrough(new DecompressionStream("gzip"));
    ort.env.wasm.wasmBinary = await new Response(unzip).arrayBuffer();
    const module = new Blob([loader], { type: "text/javascript" });
    ort.env.wasm.wasmPaths = { mjs: URL.createObjectURL(module) };
    ort.env.wasm.numThreads = 1;
    return ort.InferenceSession.create(bytes(symbolsModel.onnx));
  }

  async function features(image) {
    const X = new ort.Tensor("float32", image, [1, SIDE, SIDE]);
    return (await network.run({ X })).features.data;
  }

  // Return the softmax of minus the squared distances. A class has one drawing, so that its
  // prototype, the mean of its features, is the features of this drawing.
  function probabilities(z, prototypes) {
    const logits = prototypes.map((c) => -c.reduce((sum, value, i) => sum + (value - z[i]) ** 2, 0));
    const weights = logits.map((logit) => Math.exp(logit - Math.max(...logits)));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return weights.map((weight) => weight / total);
  }

  // ---- the page --------------------------------------------------------------------------------

  const symbols = [];
  let query = null;
  let network = null;
  let problem = null; // after which there are no answers
  let updating = Promise.resolve();
  let waiting = false;

  // Recognise what is drawn, once after all changes that come meanwhile.
  function update() {
    if (waiting) return;
    waiting = true;
    updating = updating
      .then(() => {
        waiting = false;
        return recognise();
      })
      .catch(fail);
  }

  function fail(error) {
    problem = error;
    answer(`The demonstration does not work in this browser: ${error.message}.`);
    console.error(error);
  }

  async function recognise() {
    const drawn = symbols.filter((symbol) => !symbol.empty);
    const names = drawn.map(name);
    const image = query.empty ? null : pixels(query);
    showInput(image);
    describe();
    if (problem) return;
    if (!network) return answer("Loading the network …");
    if (drawn.length < 2) return answer("Draw at least two symbols.");
    if (!image) return answer("Draw one of the symbols again.");
    const embedded = [];
    for (const drawing of [...drawn, query]) {
      embedded.push(await (drawing.features ??= features(pixels(drawing))));
    }
    const shares = probabilities(embedded.pop(), embedded);
    const most = Math.max(...shares);
    const best = shares.indexOf(most);
    answer(`This is symbol ${names[best]} (${percent(most)}).`, names, shares, best);
    symbols.forEach((symbol) => {
      symbol.element.classList.toggle("symbols-nearest", symbol === drawn[best]);
    });
  }

  const name = (symbol) => String.fromCharCode(65 + symbols.indexOf(symbol));
  const percent = (share) => `${(100 * share).toFixed(0)} %`;

  // Show a sentence, and a bar for each symbol.
  function answer(sentence, names = [], shares = [], best = -1) {
    const status = find(".symbols-answer");
    if (status.textContent !== sentence) status.textContent = sentence;
    const bars = find(".symbols-bars");
    bars.replaceChildren();
    shares.forEach((share, i) => {
      const item = make("li", bars);
      item.classList.toggle("symbols-nearest", i === best);
      item.dataset.probability = share;
      make("span", item).textContent = names[i];
      const track = make("span", item);
      track.className = "symbols-track";
      make("i", track).style.width = `${100 * share}%`;
      make("span", item).textContent = percent(share);
    });
    symbols.forEach((symbol) => symbol.element.classList.remove("symbols-nearest"));
  }

  function showInput(image) {
    const context = find(".symbols-seen canvas").getContext("2d");
    const shown = context.createImageData(SIDE, SIDE);
    image?.forEach((ink, i) => (shown.data[4 * i + 3] = 255 * ink));
    context.putImageData(shown, 0, 0);
  }

  // Name symbols by their places, and say to screen readers what is drawn.
  function describe() {
    for (const symbol of symbols) {
      const label = `Symbol ${name(symbol)}`;
      symbol.element.querySelector("b").textContent = name(symbol);
      symbol.canvas.ariaLabel = `${label}, ${symbol.empty ? "empty" : "drawn"}`;
      const [clear, remove] = symbol.element.querySelectorAll("button");
      clear.ariaLabel = `Clear symbol ${name(symbol)}`;
      remove.ariaLabel = `Remove symbol ${name(symbol)}`;
      remove.disabled = symbols.length <= 2;
    }
    query.canvas.ariaLabel = `New drawing, ${query.empty ? "empty" : "drawn"}`;
    find("[data-do=add]").disabled = symbols.length >= MOST;
    find("[data-do=another]").disabled = !symbols.some((symbol) => symbol.example);
  }

  function add() {
    const card = find("template").content.firstElementChild.cloneNode(true);
    find(".symbols-row").append(card);
    const symbol = new Drawing(card);
    symbols.push(symbol);
    card.querySelector("[data-do=clear]").addEventListener("click", () => symbol.clear());
    card.querySelector("[data-do=remove]").addEventListener("click", () => {
      symbols.splice(symbols.indexOf(symbol), 1);
      card.remove();
      update();
    });
    update();
  }

  // ---- examples: drawings of characters that the network has not seen --------------------------

  const { drawers } = symbolsModel;
  const packed = bytes(symbolsModel.drawings);
  const characters = (8 * packed.length) / (SIDE * SIDE * drawers);
  const below = (n) => Math.floor(n * Math.random());

  function example(character, drawer) {
    const first = (character * drawers + drawer) * SIDE * SIDE;
    const pixels = Array.from({ length: SIDE * SIDE }, (_, i) => {
      return (packed[(first + i) >> 3] >> (7 - ((first + i) & 7))) & 1;
    });
    return { character, drawer, pixels };
  }

  function showExamples(chosen = new Set()) {
    while (symbols.length < 3) add();
    while (chosen.size < symbols.length) chosen.add(below(characters));
    [...chosen].forEach((character, i) => symbols[i].show(example(character, below(drawers))));
    showAnother();
  }

  // Show another person's drawing of a symbol that is an example.
  function showAnother() {
    const choices = symbols.filter((symbol) => symbol.example);
    const { character, drawer } = choices[below(choices.length)].example;
    query.show(example(character, (drawer + 1 + below(drawers - 1)) % drawers));
  }

  // ---- start -----------------------------------------------------------------------------------

  query = new Drawing(find(".symbols-large"));
  for (let i = 0; i < 3; i++) add();
  const actions = {
    add,
    example: () => showExamples(),
    another: showAnother,
    erase: () => query.clear(),
    empty: () => [...symbols, query].forEach((drawing) => drawing.clear()),
  };
  for (const [action, run] of Object.entries(actions)) {
    find(`[data-do=${action}]`).addEventListener("click", run);
  }
  find(".symbols-missing").hidden = true;
  find(".symbols-app").hidden = false;
  showExamples(new Set(FIRST));
  loadNetwork()
    .then((session) => {
      network = session;
      update();
    })
    .catch(fail);
  globalThis.symbolsDemo = { symbols, query, pixels, settled: () => updating };
})();
