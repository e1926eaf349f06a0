"use strict";
const facts = JSON.parse(document.getElementById("facts").textContent);
const line = document.getElementById("timeline"), cursor = document.getElementById("cursor");
const sound = document.querySelector("audio"), play = document.getElementById("play");
let now = 0, running = null;

function nearest(times, t) {
  let best = 0;
  for (let i = 1; i < times.length; i++) if (Math.abs(times[i] - t) < Math.abs(times[best] - t)) best = i;
  return best;
}
function shownAt(t) {  // the frame on screen at t: the last that has begun
  let at = 0;
  for (let i = 0; i < facts.times.length; i++) if (facts.times[i] <= t + 1e-6) at = i;
  return at;
}
function show(t) {
  now = Math.min(Math.max(t, 0), facts.duration);
  const plot = line.querySelector(".plot"), box = plot.getBoundingClientRect(), all = line.getBoundingClientRect();
  cursor.style.left = `${box.left - all.left + now / facts.duration * box.width}px`;
  document.getElementById("now").textContent = `${now.toFixed(2)} s`;
  document.getElementById("shown").setAttribute("href", `#frame${shownAt(now)}`);
  document.getElementById("frameno").textContent = `frame ${shownAt(now) + 1} of ${facts.times.length}, ${facts.times[shownAt(now)].toFixed(2)} s`;
  facts.charts.forEach((lines, n) => {
    const out = document.getElementById(`read${n}`);
    out.replaceChildren(...lines.flatMap(({times, values, colour, label}) => {
      const i = nearest(times, now);
      if (!times.length || Math.abs(times[i] - now) > 0.6 || values[i] === null) return [];
      const part = document.createElement("span");
      part.textContent = `${values[i]} `;
      part.style.color = colour;
      part.title = label;
      return [part];
    }));
  });
}
function at(event) {
  const box = line.querySelector(".plot").getBoundingClientRect();
  return (event.clientX - box.left) / box.width * facts.duration;
}
function halt() {
  cancelAnimationFrame(running);
  running = null;
  play.textContent = "Play";
  if (sound) sound.pause();
}
function start() {
  if (now >= facts.duration - 0.05) now = 0;
  const from = now, began = performance.now();
  if (sound) { sound.currentTime = now; sound.play(); }
  play.textContent = "Pause";
  const step = () => {
    const t = sound && !sound.paused ? sound.currentTime : from + (performance.now() - began) / 1000;
    show(t);
    if (t >= facts.duration - 0.03) halt(); else running = requestAnimationFrame(step);
  };
  running = requestAnimationFrame(step);
}
line.addEventListener("pointermove", (event) => { if (running === null) show(at(event)); });
line.addEventListener("click", (event) => { halt(); show(at(event)); });
play.addEventListener("click", () => running === null ? start() : halt());
document.addEventListener("keydown", (event) => {
  const step = {ArrowLeft: -0.25, ArrowRight: 0.25}[event.key];
  if (step) { halt(); show(now + step); event.preventDefault(); }
});
const stage = document.querySelector(".stage");
stage.style.minHeight = `${stage.offsetHeight}px`;  // the frame follows into the corner while its place is out of sight
new IntersectionObserver(([seen]) => stage.classList.toggle("away", !seen.isIntersecting)).observe(stage);
addEventListener("resize", () => show(now));
show(facts.duration / 2);
