// The slider between original and decoding, zoom that shows pixels, and the difference.
const viewer = one(".viewer");
if (viewer) {
  const part = (name) => one(`.${name}`, viewer);
  const exhibitsOf = all("#look .exhibit");
  const state = { takes: [], width: 1, height: 1 };
  one("#look .exhibits").hidden = true;
  viewer.hidden = false;

  const size = () => {
    const zoom = +part("zoom").value;
    const canvas = part("canvas");
    const fit = Math.min(1.5, part("stage").clientWidth / state.width, (0.8 * innerHeight) / state.height);
    const scale = zoom || fit;
    canvas.classList.toggle("fit", !zoom);
    canvas.style.width = `${state.width * scale}px`;
    canvas.style.height = `${state.height * scale}px`;
  };

  const slide = () => {
    const share = +part("split").value;
    part("over").style.clipPath = `inset(0 ${100 - share}% 0 0)`;
    part("edge").style.left = `${share}%`;
  };

  const pixels = (image) => {
    const canvas = make("canvas", "", { width: state.width, height: state.height });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    return context.getImageData(0, 0, state.width, state.height);
  };

  const difference = () => {
    const shown = part("view").value === "difference";
    for (const name of ["edge", "under", "over"]) part(name).hidden = shown;
    part("difference").hidden = !shown;
    part("gain").hidden = !shown;
    part("split").disabled = shown;
    if (!shown) return;
    const [ours, theirs] = [pixels(part("under")), pixels(part("over"))];
    const gain = +part("amplify").value;
    for (let i = 0; i < ours.data.length; i++) {
      ours.data[i] = i % 4 === 3 ? 255 : 128 + gain * (ours.data[i] - theirs.data[i]); // clamped by the array
    }
    const canvas = part("difference");
    Object.assign(canvas, { width: state.width, height: state.height });
    canvas.getContext("2d").putImageData(ours, 0, 0);
  };

  const open = async () => {
    const [original, take] = [state.takes[0], state.takes[+part("take-list").value + 1]];
    part("over").src = one("img", original).src;
    part("under").src = one("img", take).src;
    await Promise.all([part("over").decode(), part("under").decode()]);
    Object.assign(state, { width: part("under").naturalWidth, height: part("under").naturalHeight });
    part("now").textContent = `${take.dataset.codec}, ${take.dataset.setting}: ${take.dataset.rate}`;
    size();
    slide();
    difference();
  };

  const openPicture = () => {
    state.takes = all(".take", exhibitsOf[+part("file").value]);
    const chosen = part("take-list").value;
    fill(part("take-list"), state.takes.slice(1).map((t) => `${t.dataset.codec}, ${t.dataset.setting}, ${t.dataset.rate}`));
    part("take-list").value = +chosen < state.takes.length - 1 ? chosen || 0 : 0;
    open();
  };

  const drag = (event) => {
    const box = part("canvas").getBoundingClientRect();
    part("split").value = (100 * (event.clientX - box.x)) / box.width;
    slide();
  };
  part("canvas").addEventListener("pointerdown", (event) => {
    event.currentTarget.setPointerCapture(event.pointerId);
    drag(event);
  });
  part("canvas").addEventListener("pointermove", (event) => event.buttons && drag(event));
  part("split").addEventListener("input", slide);
  part("file").addEventListener("change", openPicture);
  part("take-list").addEventListener("change", open);
  part("view").addEventListener("change", difference);
  part("amplify").addEventListener("change", difference);
  part("zoom").addEventListener("change", size);
  addEventListener("resize", size);

  const step = (select, by) => {
    select.selectedIndex = Math.max(0, Math.min(select.options.length - 1, select.selectedIndex + by));
    select.dispatchEvent(new Event("change"));
  };
  const nudge = (by) => {
    part("split").value = +part("split").value + by;
    slide();
  };
  const keys = {
    ArrowLeft: () => nudge(-2),
    ArrowRight: () => nudge(2),
    "+": () => step(part("zoom"), 1),
    "-": () => step(part("zoom"), -1),
    d: () => step(part("view"), part("view").selectedIndex ? -1 : 1),
    f: () => (part("over").style.clipPath = "none"),
  };
  part("stage").addEventListener("keydown", (event) => {
    const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  });
  part("stage").addEventListener("keyup", (event) => event.key.toLowerCase() === "f" && slide());
  fill(part("file"), exhibitsOf.map((exhibit) => exhibit.dataset.file));
  openPicture();
}
