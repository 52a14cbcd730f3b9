export SINGULARITY_DOCKER_USERNAME='_json_key'
export SINGULARITY_DOCKER_PASSWORD='{"type": "service_account",
 "k": "a\nb c"}'
export APPTAINER_DOCKER_USERNAME='_json_key'
export APPTAINER_DOCKER_PASSWORD='{"type": "service_account",
 "k": "a\nb c"}'
