// Shared by all pages: clicks copy commands, sort tables and enlarge plots.
"use strict";

for (const button of document.querySelectorAll(".command button")) button.onclick = async () => {
  const text = button.previousElementSibling.textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch { // some browsers deny access to pages opened from a file
    getSelection().selectAllChildren(button.previousElementSibling);
    document.execCommand("copy");
  }
  button.textContent = "copied";
  setTimeout(() => { button.textContent = "copy"; }, 1500);
};

for (const button of document.querySelectorAll("th button")) button.onclick = () => {
  const th = button.closest("th"), body = th.closest("table").tBodies[0];
  const up = th.getAttribute("aria-sort") !== "ascending";
  for (const other of th.parentElement.cells) other.removeAttribute("aria-sort");
  th.setAttribute("aria-sort", up ? "ascending" : "descending");
  const key = row => row.cells[th.cellIndex].dataset.key;
  const order = (a, b) => {
    const [x, y] = [Number(a), Number(b)];
    if (!isNaN(x) && !isNaN(y)) return up ? x - y : y - x;
    return isNaN(x) - isNaN(y) || (up ? 1 : -1) * a.localeCompare(b);
  };
  body.append(...[...body.rows].sort((a, b) => order(key(a), key(b))));
};

{
  const dialog = document.createElement("dialog");
  dialog.onclick = () => dialog.close();
  document.body.append(dialog);
  const enlarge = image => {
    const copy = image.cloneNode();
    copy.className = "";
    copy.style.setProperty("--ratio", image.naturalWidth / image.naturalHeight || 1);
    copy.style.setProperty("--width", `${Math.min(image.naturalWidth, 900)}px`); // wider than a phone, where it scrolls
    copy.style.imageRendering = getComputedStyle(image).imageRendering;
    dialog.replaceChildren(copy);
    dialog.showModal();
  };
  for (const image of document.querySelectorAll("figure img")) {
    image.classList.add("large");
    image.tabIndex = 0;
    image.onclick = () => enlarge(image);
    image.onkeydown = event => { if (event.key === "Enter") enlarge(image); };
  }
}
