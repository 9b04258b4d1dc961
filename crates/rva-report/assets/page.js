// Draws the plots of the page from the numbers in it.
"use strict";
(() => {
  const report = JSON.parse(document.getElementById("report").textContent);
  const charts = [];
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const PALETTE = ["#1f6fb2", "#d9772b", "#2f9e69", "#b14aa0", "#8a6d1d", "#c0392b", "#4d5bd1", "#5f7481"];
  const many = (length) => PALETTE[length % PALETTE.length];
  const whole = { precision: 0 };

  // A bar, a line or a strip; colours are asked for anew whenever the page is drawn for another scheme.
  function draw(id, make) {
    const canvas = document.getElementById(id);
    if (canvas) charts.push({ canvas, make, chart: null });
  }

  function axis(more) {
    const { ticks, ...rest } = more || {};
    return {
      grid: { color: colour("--rule") },
      border: { color: colour("--rule") },
      ticks: { color: colour("--soft"), maxRotation: 0, autoSkip: true, autoSkipPadding: 12, ...ticks },
      ...rest,
    };
  }

  function options(more) {
    return {
      responsive: true,
      maintainAspectRatio: false,
      animation: false,
      interaction: { mode: "index", intersect: false },
      ...more,
      plugins: {
        legend: { display: false, labels: { color: colour("--ink"), boxWidth: 14 } },
        tooltip: { animation: false },
        ...(more && more.plugins),
      },
    };
  }

  // What of "2026-01-31 08:00 to 09:00" stands at an axis: the time within a day, else the day too.
  function tick(labels) {
    const day = (text) => text.slice(0, 10);
    const oneDay = labels.length === 0 || day(labels[0]) === day(labels[labels.length - 1]);
    return function (value) {
      const text = this.getLabelForValue(value);
      return oneDay ? text.slice(11, 16) || text : `${text.slice(5, 10)} ${text.slice(11, 16)}`.trim();
    };
  }

  const legend = (display) => ({ legend: { display, labels: { color: colour("--ink"), boxWidth: 14 } } });

  // More curves than there are colours become their sum.
  function few(series, labels) {
    if (series.length <= PALETTE.length) return series;
    const sum = (at) => {
      const there = series.map((one) => one.average[at]).filter((value) => value !== null);
      return there.length ? Math.round(there.reduce((a, b) => a + b) * 1000) / 1000 : null;
    };
    return [{ camera: `all ${series.length} cameras added up`, average: labels.map((_, at) => sum(at)) }];
  }

  function people() {
    const { labels } = report.people;
    const series = few(report.people.series, labels);
    const alone = report.cameras.length === 1;
    const line = (label, data, paint, more) => ({
      label, data, borderColor: paint, backgroundColor: paint, borderWidth: 1.8, spanGaps: false,
      // A point that stands alone between two gaps has no line.
      pointRadius: (at) => {
        const lone = (k) => data[k] === null || data[k] === undefined;
        return lone(at.dataIndex - 1) && lone(at.dataIndex + 1) ? 2.5 : 0;
      },
      pointHitRadius: 6, ...more,
    });
    const datasets = alone
      ? [
          line("average", series[0].average, colour("--one"), {}),
          line("most", series[0].peak, colour("--two"), { stepped: "middle", borderWidth: 1.2 }),
        ]
      : series.map((one, at) => line(one.camera, one.average, many(at), {}));
    return {
      type: "line",
      data: { labels, datasets },
      options: options({
        plugins: legend(true),
        scales: {
          x: axis({ grid: { display: false }, ticks: { callback: tick(labels) } }),
          y: axis({ beginAtZero: true, suggestedMax: 1 }),
        },
      }),
    };
  }

  function visitors(rows, callback) {
    const labels = rows.map((row) => row.label);
    const bar = (label, key, paint) => ({
      label, data: rows.map((row) => row[key]), backgroundColor: paint, maxBarThickness: 64,
    });
    const datasets = report.by_line
      ? [bar("in", "in", colour("--one")), bar("out", "out", colour("--two"))]
      : [bar("tracks", "visitors", colour("--one"))];
    return {
      type: "bar",
      data: { labels, datasets },
      options: options({
        plugins: legend(report.by_line),
        scales: {
          x: axis({ grid: { display: false }, ticks: { callback: callback || tick(labels) } }),
          y: axis({ beginAtZero: true, suggestedMax: 1, ticks: whole }),
        },
      }),
    };
  }

  function hoursOfDay() {
    const label = (hour) => `${String(hour).padStart(2, "0")}:00`;
    const rows = report.of_day.map((row) => ({ label: label(row.hour), visitors: row.visitors }));
    return {
      type: "bar",
      data: {
        labels: rows.map((row) => row.label),
        datasets: [{ label: "visitors", data: rows.map((row) => row.visitors), backgroundColor: colour("--one") }],
      },
      options: options({
        scales: { x: axis({ grid: { display: false } }), y: axis({ beginAtZero: true, suggestedMax: 1, ticks: whole }) },
      }),
    };
  }

  const named = (row, name) => (report.cameras.length > 1 ? `${name} (${row.camera})` : name);
  const clipped = function (value) {
    const text = this.getLabelForValue(value);
    return text.length > 18 ? `${text.slice(0, 17)}…` : text;
  };

  // Bars that lie: names have room, and there may be many.
  function lying(labels, datasets, ticks) {
    return {
      type: "bar",
      data: { labels, datasets },
      options: options({
        indexAxis: "y",
        plugins: legend(true),
        scales: {
          x: axis({ beginAtZero: true, suggestedMax: 1, ticks }),
          y: axis({ grid: { display: false }, ticks: { callback: clipped, autoSkip: false } }),
        },
      }),
    };
  }

  function lines() {
    const bar = (label, key, paint) => ({ label, data: report.lines.map((row) => row[key]), backgroundColor: paint });
    const bars = [bar("in", "came_in", colour("--one")), bar("out", "went_out", colour("--two"))];
    return lying(report.lines.map((row) => named(row, row.line)), bars, whole);
  }

  function zones() {
    const round = (seconds) => (seconds === null ? null : Math.round(seconds * 10) / 10);
    const bar = (label, key, paint) => ({
      label, data: report.zones.map((row) => round(row[key])), backgroundColor: paint,
    });
    const bars = [
      bar("average", "dwell_seconds_average", colour("--one")),
      bar("longest", "dwell_seconds_max", colour("--two")),
    ];
    return lying(report.zones.map((row) => named(row, row.zone)), bars, {});
  }

  function coverage() {
    const { labels, cells } = report.coverage;
    const share = (cell) => (cell.minutes > 0 ? cell.looked / cell.minutes : 0);
    const size = (length, count) => Math.max(1, length / Math.max(1, count) - 2);
    return {
      type: "matrix",
      data: {
        datasets: [{
          label: "looked",
          data: cells,
          backgroundColor: ({ raw }) => (raw ? `rgba(${colour("--good")}, ${0.06 + 0.94 * share(raw)})` : "transparent"),
          borderColor: colour("--rule"),
          borderWidth: 1,
          width: ({ chart }) => size((chart.chartArea || {}).width || 0, labels.length),
          height: ({ chart }) => size((chart.chartArea || {}).height || 0, report.cameras.length),
        }],
      },
      options: options({
        interaction: { mode: "nearest", intersect: true },
        plugins: {
          tooltip: {
            animation: false,
            callbacks: {
              title: (items) => `${items[0].raw.y}, ${items[0].raw.x}`,
              label: ({ raw }) => `${raw.looked} of ${raw.minutes} minutes`,
            },
          },
        },
        scales: {
          x: axis({ type: "category", labels, offset: true, grid: { display: false }, ticks: { callback: tick(labels) } }),
          // The chart of matrices has its first row at the bottom.
          y: axis({
            type: "category", labels: [...report.cameras].reverse(), offset: true, grid: { display: false },
            ticks: { callback: clipped, autoSkip: false },
          }),
        },
      }),
    };
  }

  // Yellow over orange to red, and less and less of the picture below.
  function heatColour(share) {
    const stops = [[255, 237, 120, 0.35], [253, 141, 60, 0.65], [189, 0, 38, 0.85]];
    const at = Math.min(0.9999, Math.max(0, share)) * (stops.length - 1);
    const [from, to, part] = [stops[Math.floor(at)], stops[Math.floor(at) + 1], at % 1];
    const [r, g, b, a] = from.map((value, k) => value + (to[k] - value) * part);
    return `rgba(${Math.round(r)}, ${Math.round(g)}, ${Math.round(b)}, ${a.toFixed(2)})`;
  }

  function heat(camera) {
    const cells = report.heat.filter((cell) => cell.camera === camera);
    const side = Math.max(10, ...cells.map((cell) => Math.max(cell.x, cell.y) + 1));
    // Without tracks there is no time that people spent: then it is how often somebody was seen.
    const timed = cells.some((cell) => cell.dwell_seconds > 0);
    const value = (cell) => (timed ? cell.dwell_seconds : cell.hits);
    const most = Math.max(1e-9, ...cells.map(value));
    const seconds = (number) => (number < 60 ? `${number.toFixed(1)} s` : `${(number / 60).toFixed(1)} min`);
    return {
      type: "matrix",
      data: {
        datasets: [{
          label: camera,
          data: cells.map((cell) => ({ ...cell, x: cell.x + 0.5, y: cell.y + 0.5, cell })),
          backgroundColor: ({ raw }) => (raw && value(raw.cell) > 0 ? heatColour(Math.sqrt(value(raw.cell) / most)) : "transparent"),
          borderWidth: 0,
          width: ({ chart }) => ((chart.chartArea || {}).width || 0) / side,
          height: ({ chart }) => ((chart.chartArea || {}).height || 0) / side,
        }],
      },
      options: options({
        interaction: { mode: "nearest", intersect: true },
        layout: { padding: 0 },
        plugins: {
          tooltip: {
            animation: false,
            callbacks: {
              title: (items) => `cell ${items[0].raw.cell.x + 1} from the left, ${items[0].raw.cell.y + 1} from the top`,
              label: ({ raw: { cell } }) => [
                `${seconds(cell.dwell_seconds)} spent`, `${cell.visits} visits`, `${cell.hits} detections`,
              ],
            },
          },
        },
        scales: {
          // Edge to edge: a cell lies on its part of the picture.
          x: { type: "linear", min: 0, max: side, offset: false, display: false },
          y: { type: "linear", min: 0, max: side, offset: false, reverse: true, display: false },
        },
      }),
    };
  }

  // Many cameras, lines or zones want more room than few.
  function grow(id, rows, each) {
    const canvas = document.getElementById(id);
    if (canvas) canvas.parentElement.style.height = `${Math.min(1600, Math.max(120, 70 + rows * each))}px`;
  }

  function render() {
    Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
    for (const one of charts) {
      if (one.chart) one.chart.destroy();
      one.chart = new Chart(one.canvas, one.make());
    }
  }

  for (const place of document.querySelectorAll(".heat")) {
    place.style.aspectRatio = `${place.dataset.width} / ${place.dataset.height}`;
  }
  grow("coverage", report.cameras.length, 26);
  grow("lines", report.lines.length, 46);
  grow("zones", report.zones.length, 46);
  draw("people", people);
  draw("hours", () => visitors(report.hours));
  draw("days", () => visitors(report.days, function (value) { return this.getLabelForValue(value).slice(5); }));
  draw("of_day", hoursOfDay);
  draw("lines", lines);
  draw("zones", zones);
  draw("coverage", coverage);
  report.cameras.forEach((camera, at) => draw(`heat${at}`, () => heat(camera)));
  render();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", render);
  // What is printed is drawn in the colours and the size of paper.
  matchMedia("print").addEventListener("change", render);
})();
