git clone "$FLEET_URL" fleet && cd fleet

# 1. Bootstrap the management cluster
fairway bootstrap git --url="$FLEET_URL" --branch=main --path=clusters/management --context=management

# 2. Register the clusters
for env in dev staging prod; do
  for region in us-west-2 us-east-1 eu-west-1; do
    fairway create cluster "$env-$region" --context="$env-$region" --management-context=management \
      --label environment="$env" --label region="$region" --label cluster-type=workload --label team=platform
  done
done

# 3. Apply the platform
kubectl --context=management apply -f cluster-config/cluster-labels.yaml -f flux-manifests/platform-kustomization.yaml

# 4. Apply the applications
kubectl --context=management apply -f flux-manifests/apps-kustomization.yaml
