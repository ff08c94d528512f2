% The five metrics and imresize as a script of the benchmarks would have them, for test_metrics.py.
% Wants maps.mat: pred (uint8, of the truth's size), small (uint8), density (from 0 to 1), fixated and elsewhere (0 or 1),
% draws and splits. Prints a line a result: its name and numbers.
1;

function y = kernel(x)
  x = abs(x);
  y = (1.5*x.^3 - 2.5*x.^2 + 1) .* (x <= 1) + (-0.5*x.^3 + 2.5*x.^2 - 4*x + 2) .* (x > 1 & x < 2);
end

function B = resize_columns(A, lines)  % along the first dimension, in floating point
  source = size(A, 1);
  scale = lines / source;
  narrow = min(scale, 1);
  B = zeros(lines, size(A, 2));
  for i = 1:lines
    u = i/scale + 0.5*(1 - 1/scale);
    taps = floor(u - 2/narrow) : ceil(u + 2/narrow);
    w = kernel(narrow*(u - taps));
    w = w / sum(w);
    turned = [1:source, source:-1:1];
    B(i, :) = w * A(turned(mod(taps - 1, 2*source) + 1), :);
  end
end

function y = area(fp, tp)
  y = trapz(fp, tp);
end

load('maps.mat');
pred = double(pred);
density = double(density);
fixated = logical(fixated);
elsewhere = logical(elsewhere);
unit = @(map) (map - min(map(:))) / (max(map(:)) - min(map(:)));

once = uint8(resize_columns(resize_columns(double(small), size(pred, 1))', size(pred, 2))');
printf('imresize'); printf(' %d', once'); printf('\n');

z = (pred - mean(pred(:))) / std(pred(:));
printf('nss %.15g\n', mean(z(fixated)));
r = corrcoef(pred(:), density(:));
printf('cc %.15g\n', r(min(2, numel(r))));
p = unit(pred); p = p / sum(p(:));
q = unit(density); q = q / sum(q(:));
printf('sim %.15g\n', sum(min(p(:), q(:))));
p = pred / sum(pred(:));
q = density / sum(density(:));
printf('kl_divergence %.15g\n', sum(q(:) .* log(eps + q(:) ./ (p(:) + eps))));

n = sum(fixated(:));
rand('twister', 1);
scores = zeros(1, draws);
for draw = 1:draws
  S = unit(pred + rand(size(pred))/10000000);
  thresholds = sort(S(fixated), 'descend');
  tp = zeros(n + 2, 1); fp = zeros(n + 2, 1);
  tp(end) = 1; fp(end) = 1;
  for i = 1:n
    tp(i + 1) = i/n;
    fp(i + 1) = (sum(S(:) >= thresholds(i)) - i) / (numel(S) - n);
  end
  scores(draw) = area(fp, tp);
end
printf('auc_judd'); printf(' %.15g', scores); printf('\n');

S = unit(pred);
places = find(elsewhere);
take = min(n, numel(places));
scores = zeros(1, splits);
for split = 1:splits
  chosen = places(randperm(numel(places)));
  negatives = S(chosen(1:take));
  hits = S(fixated);
  thresholds = fliplr(0:0.1:max([hits; negatives]));
  tp = zeros(numel(thresholds) + 2, 1); fp = tp;
  tp(end) = 1; fp(end) = 1;
  for i = 1:numel(thresholds)
    tp(i + 1) = mean(hits >= thresholds(i));
    fp(i + 1) = mean(negatives >= thresholds(i));
  end
  scores(split) = area(fp, tp);
end
printf('shuffled_auc'); printf(' %.15g', scores); printf('\n');
