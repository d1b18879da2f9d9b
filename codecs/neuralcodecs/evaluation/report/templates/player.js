// Takes of a file run together, sample by sample, and only one is let through: switching leaves no gap.
const FADE = 0.008; // seconds: short enough for a switch, long enough not to click
const player = one(".player");
const deck = player && {
  context: null, buffers: [], gains: [], sources: [], takes: [], chosen: 0, playing: false, begun: 0, offset: 0, length: 1, secret: false, loading: 0,
};

const bytes = (uri) => Uint8Array.from(atob(uri.slice(uri.indexOf(",") + 1)), (c) => c.charCodeAt(0)).buffer;
const label = (take) => (take.dataset.codec ? `${take.dataset.codec}, ${take.dataset.setting}, ${take.dataset.rate}` : "original");

const position = () => {
  if (!deck.playing) return deck.offset;
  const passed = deck.offset + Math.max(0, deck.context.currentTime - deck.begun); // begun lies a little ahead
  return one(".loop input", player).checked ? passed % deck.length : Math.min(passed, deck.length);
};

const stop = () => {
  deck.offset = position();
  for (const source of deck.sources) source.stop();
  deck.sources = [];
  deck.playing = false;
};

const start = async () => {
  const turn = ++deck.loading;
  deck.context ??= new AudioContext();
  await deck.context.resume();
  if (!deck.buffers.length) {
    const buffers = await Promise.all(deck.takes.map((take) => deck.context.decodeAudioData(bytes(one("audio", take).src))));
    if (turn !== deck.loading) return; // another file was chosen meanwhile
    deck.buffers = buffers;
    deck.length = buffers[0].duration;
  }
  if (deck.playing) return;
  deck.analyser ??= deck.context.createAnalyser();
  deck.analyser.connect(deck.context.destination);
  deck.offset = deck.offset >= deck.length - 0.01 ? 0 : deck.offset;
  deck.begun = deck.context.currentTime + 0.02;
  deck.gains = deck.buffers.map((_, i) => {
    const gain = deck.context.createGain();
    gain.gain.value = i === deck.chosen ? 1 : 0;
    gain.connect(deck.analyser);
    return gain;
  });
  deck.sources = deck.buffers.map((buffer, i) => {
    const source = deck.context.createBufferSource();
    source.buffer = buffer;
    source.loop = one(".loop input", player).checked;
    source.loopEnd = deck.length;
    source.connect(deck.gains[i]);
    source.start(deck.begun, deck.offset);
    return source;
  });
  deck.playing = true;
  show();
};

// secret: the blind test plays, and nothing on the page may tell what
const choose = (index, secret = false) => {
  deck.chosen = index;
  deck.secret = secret;
  const now = deck.context?.currentTime ?? 0;
  deck.gains.forEach((gain, i) => gain.gain.setTargetAtTime(i === index ? 1 : 0, now, FADE / 3));
  const take = deck.takes[index];
  all(".tracks button", player).forEach((b) => b.setAttribute("aria-pressed", !secret && +b.dataset.index === index));
  if (!secret) all("[data-hear]", player).forEach((b) => b.setAttribute("aria-pressed", false));
  one(".screen", player).classList.toggle("secret", secret);
  const picture = one(".spectrogram", player);
  if (secret) picture.removeAttribute("src");
  else picture.src = one("img", take).src;
  picture.alt = secret ? "hidden in the blind test" : one("img", take).alt;
  one(".now", player).textContent = secret ? "Blind test" : `${label(take)} (${take.dataset.gain} dB)`;
};

const seek = (seconds) => {
  const was = deck.playing;
  if (was) stop();
  deck.offset = Math.max(0, Math.min(seconds, deck.length));
  if (was) start();
  show();
};

const show = () => {
  let at = position();
  if (deck.playing && at >= deck.length) {
    stop();
    at = deck.offset = deck.length;
  }
  const share = deck.length ? at / deck.length : 0;
  one(".seek", player).value = share;
  one(".head", player).style.left = `${100 * share}%`;
  one(".time", player).textContent = `${at.toFixed(1)} of ${deck.length.toFixed(1)} s`;
  const play = one(".play", player);
  play.textContent = deck.playing ? "❚❚" : "▶";
  play.setAttribute("aria-label", deck.playing ? "Pause" : "Play");
  let level = 0;
  if (deck.playing) {
    const samples = new Float32Array(deck.analyser.fftSize);
    deck.analyser.getFloatTimeDomainData(samples);
    level = Math.sqrt(samples.reduce((sum, x) => sum + x * x, 0) / samples.length);
    requestAnimationFrame(show);
  }
  one(".level", player).value = Math.min(1, 3 * level);
};

const openFile = (index) => {
  if (deck.playing) stop();
  deck.loading++;
  const exhibit = all("#listen .exhibit")[index];
  Object.assign(deck, { takes: all(".take", exhibit), buffers: [], gains: [], offset: 0 });
  deck.length = +deck.takes[0].dataset.seconds;
  const rows = new Map();
  deck.takes.forEach((take, i) => {
    const codec = take.dataset.codec;
    if (!rows.has(codec)) {
      const row = make("div", "", { class: "row" });
      row.append(make("span", codec || "original", { title: codec }));
      rows.set(codec, row);
    }
    const button = make("button", codec ? take.dataset.rate : "original", { type: "button", "data-index": i });
    if (codec) button.append(make("small", take.dataset.setting));
    button.addEventListener("click", () => choose(i));
    rows.get(codec).append(button);
  });
  one(".tracks", player).replaceChildren(...rows.values());
  choose(0);
  show();
  player.dispatchEvent(new Event("file"));
};

if (player) {
  one("#listen .exhibits").hidden = true;
  player.hidden = false;
  fill(one(".file", player), all("#listen .exhibit").map((exhibit) => exhibit.dataset.file));
  one(".file", player).addEventListener("change", (event) => openFile(+event.target.value));
  const toggle = () => (deck.playing ? (stop(), show()) : start());
  one(".play", player).addEventListener("click", toggle);
  one(".seek", player).addEventListener("input", (event) => seek(event.target.value * deck.length));
  one(".loop input", player).addEventListener("change", () => seek(position()));
  one(".screen", player).addEventListener("click", (event) => {
    const box = one(".screen", player).getBoundingClientRect();
    seek(((event.clientX - box.x) / box.width) * deck.length);
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    const inside = player.contains(event.target) || event.target === document.body;
    if (!inside) return;
    const onButton = event.target.closest("button, summary, input[type=checkbox]");
    if (event.key === " " && !onButton) toggle();
    else if (event.key === "ArrowLeft") seek(position() - 1);
    else if (event.key === "ArrowRight") seek(position() + 1);
    else if (/^[0-9]$/.test(event.key) && +event.key < deck.takes.length) choose(+event.key);
    else return;
    event.preventDefault();
  });
}
